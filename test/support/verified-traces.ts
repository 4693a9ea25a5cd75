import type { Outcome, Output } from '../../verify/output/output.ts'
import type { Report, TraceReport } from '../../verify/report.ts'
import { verify } from '../../verify/verify.ts'
import { verifyTrace } from '../../verify/verify-trace.ts'
import { makeTrace, muchLater, spanNamed, withAttributes } from './made-trace.ts'

export const crossed = makeTrace({ seed: 'crossed' })

/** One that is clean, one in which the tool serves another user and says odd things, and one that is not whole yet. */
export function threeTraces (user = 'mallory'): { readonly reports: readonly TraceReport[], readonly report: Report } {
  const clean = makeTrace({ seed: 'clean' })
  const wrong = withAttributes(crossed, spanNamed(crossed, 'tool'), { 'user.id': user })
  const fresh = makeTrace({ seed: 'fresh', startedAt: (muchLater - 1) * 1000 })
  const options = { nowMs: muchLater }
  return {
    reports: [clean, wrong, fresh].map((spans) => verifyTrace(spans, options)),
    report: verify([...clean, ...wrong, ...fresh], options)
  }
}

/** All that a format writes. */
export function write (output: Output, reports: readonly TraceReport[], outcome: Outcome): string {
  return reports.map((report) => output.trace(report)).join('') + output.end(outcome)
}
