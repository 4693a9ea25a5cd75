import fc from 'fast-check'
import type { Test } from 'tap'

/** A slow machine does less in the time that there is; with less than this nothing was tried. */
const leastRuns = 5

/** Asserts a property within a time limit, and tells of how many runs. */
export async function holdsInTime<Args> (t: Test, property: fc.IAsyncProperty<Args>, parameters: fc.Parameters<Args> & { readonly numRuns: number }): Promise<void> {
  const result = await fc.check(property, parameters)
  const runs = `${result.numRuns} runs${result.interrupted ? ', and no time for more' : ''}`
  t.equal(result.failed, false, result.failed ? fc.defaultReportMessage(result) ?? runs : runs)
  t.ok(result.numRuns >= Math.min(parameters.numRuns, leastRuns), runs)
}
