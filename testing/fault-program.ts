/**
 * Runs one fault of the kit, which its argument names, and prints what was observed as one line of JSON: a program, because a protection can
 * be taken away from a process of its own only. Ends with 1 when the fault could not be produced.
 */
import { allFaults } from './all-faults.ts'
import { observeFault } from './observe-fault.ts'

const [name] = process.argv.slice(2)
const fault = allFaults.find((known) => known.name === name)
if (fault === undefined) throw new Error(`There is no fault ${name}`)

const observation = await observeFault(fault)
process.stdout.write(`${JSON.stringify(observation)}\n`)
