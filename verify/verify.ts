import type { Report } from './report.ts'
import { readSpan, type SeenSpan } from './seen-span.ts'
import type { Span } from './span.ts'
import { threadlineProfile } from './threadline-profile.ts'
import { Totals } from './totals.ts'
import { verifySeen, type VerifyOptions } from './verify-trace.ts'

/** Verifies spans of any number of traces, in any order, all in memory. Pure; it never throws, whatever the spans hold. */
export function verify (spans: Iterable<Span>, options: VerifyOptions = {}): Report {
  const { profile = threadlineProfile } = options
  const traces = new Map<string, SeenSpan[]>()
  const totals = new Totals()
  for (const span of spans) {
    const seen = readSpan(span, profile)
    if (seen === undefined) {
      totals.skip()
      continue
    }
    const trace = traces.get(seen.traceId)
    if (trace === undefined) traces.set(seen.traceId, [seen])
    else trace.push(seen)
  }
  for (const [traceId, seen] of traces) totals.add(verifySeen(traceId, seen, options))
  return totals.report()
}
