/**
 * Shows for each way in which an identity gets lost or crossed that it does no harm, and that guard or verifier would name the hop if the
 * one line were gone that protects from it. Ends with 1 unless all rows are as they should be: `npm run faults`.
 */
import { allFaults } from '../testing/all-faults.ts'
import { observeFaults, toCells } from '../testing/fault-table.ts'

const [only] = process.argv.slice(2)
const faults = allFaults.filter(({ name }) => only === undefined || name === only)

const rows = await observeFaults(faults, ({ fault, problems }) => {
  console.log(problems.length === 0 ? `${fault.name}: as it should be` : [`${fault.name}:`, ...problems].join('\n  '))
})
console.table(rows.flatMap(toCells))
const failed = rows.filter(({ problems }) => problems.length > 0).map(({ fault }) => fault.name)
console.log(JSON.stringify({ faults: rows.length, as_they_should_be: rows.length - failed.length, failed }))
process.exitCode = rows.length > 0 && failed.length === 0 ? 0 : 1
