import { allFaults } from '../../testing/all-faults.ts'
import { observeFaults } from '../../testing/fault-table.ts'

interface Asserting { same (found: unknown, wanted: unknown, message: string): unknown }
interface Test { test (title: string, fn: (t: Asserting) => Promise<void>): unknown }

/** Asserts every so many rows of the table that `npm run faults` prints, from one on: the processes of all of them would take a test file too long. */
export function testFaultRows (t: Test, { from, every }: { from: number, every: number }): void {
  const faults = allFaults.filter((_fault, index) => index % every === from)
  void t.test('each fault does no harm, and without its protection a witness names its hop', async (t) => {
    await observeFaults(faults, ({ fault, problems }) => { t.same(problems, [], fault.name) })
  })
}
