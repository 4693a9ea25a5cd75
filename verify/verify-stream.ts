import type { Report, TraceReport } from './report.ts'
import { readSpan, type SeenSpan } from './seen-span.ts'
import type { Span } from './span.ts'
import { Spill } from './spill.ts'
import { threadlineProfile } from './threadline-profile.ts'
import { Totals } from './totals.ts'
import { TraceGroups } from './trace-groups.ts'
import { verifySeen, type VerifyOptions } from './verify-trace.ts'

export interface StreamOptions extends VerifyOptions {
  /** Spans that are kept in memory at once; beyond that they go to files in a temporary folder. 200,000 by default. */
  readonly maxSpansInMemory?: number
  /** A trace of more spans is reported as incomplete, and not verified. 100,000 by default, and at most half of `maxSpansInMemory`. */
  readonly maxTraceSpans?: number
  /** Where the temporary folder is made; the system's by default. */
  readonly directory?: string
  /** Ends it: the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal
  /** Is given each trace's report, clean ones too, and waited for. */
  readonly onTrace?: (report: TraceReport) => void | Promise<void>
}

/**
 * Verifies any number of spans, of however many traces that lie one in the other, in memory that does not grow with their number. Rejects
 * with what the source, `onTrace` or the file system throw; the temporary folder is removed in any case.
 */
export async function verifyStream (spans: AsyncIterable<Span> | Iterable<Span>, options: StreamOptions = {}): Promise<Report> {
  const { onTrace, profile = threadlineProfile } = options
  const totals = new Totals()
  const verifying = new Verifying(options)
  for await (const report of verifying.reports(readAll(spans, (span) => readSpan(span, profile), totals))) {
    totals.add(report)
    await onTrace?.(report)
  }
  return totals.report()
}

async function * readAll<T> (spans: AsyncIterable<T> | Iterable<T>, read: (span: T) => SeenSpan | undefined, totals: Totals): AsyncGenerator<SeenSpan> {
  for await (const span of spans) {
    const seen = read(span)
    if (seen === undefined) totals.skip()
    else yield seen
  }
}

/** So many partings that what lies in one partition of the last is next to nothing. */
const maxPartings = 4

class Verifying {
  readonly #options: StreamOptions
  readonly #maxSpans: number
  readonly #maxTraceSpans: number
  readonly #tooLarge = new Map<string, number>()

  constructor (options: StreamOptions) {
    const { maxSpansInMemory = 200_000, maxTraceSpans = 100_000 } = options
    this.#options = options
    this.#maxSpans = Math.max(2, maxSpansInMemory)
    this.#maxTraceSpans = Math.min(maxTraceSpans, Math.floor(this.#maxSpans / 2))
  }

  async * reports (spans: AsyncIterable<SeenSpan>): AsyncGenerator<TraceReport> {
    yield * this.#reportsOf(spans, 0)
    for (const [traceId, count] of this.#tooLarge) yield tooLarge(traceId, count, this.#maxTraceSpans)
  }

  async * #reportsOf (spans: AsyncIterable<SeenSpan>, parting: number): AsyncGenerator<TraceReport> {
    const { signal, directory } = this.#options
    const groups = new TraceGroups(this.#maxTraceSpans, this.#tooLarge)
    let spill: Spill | undefined
    try {
      for await (const span of spans) {
        signal?.throwIfAborted()
        groups.add(span)
        if (groups.size < this.#maxSpans || parting === maxPartings) continue
        spill ??= await Spill.create(parting, directory)
        await spill.write(groups.take())
      }
      if (spill === undefined) {
        yield * this.#verify(groups)
        return
      }
      await spill.write(groups.take())
      for await (const partition of spill.read()) yield * this.#reportsOf(partition, parting + 1)
    } finally {
      await spill?.remove()
    }
  }

  * #verify (groups: TraceGroups): Generator<TraceReport> {
    for (const [traceId, spans] of groups.take()) {
      this.#options.signal?.throwIfAborted()
      yield verifySeen(traceId, spans, this.#options)
    }
  }
}

function tooLarge (traceId: string, spans: number, maxTraceSpans: number): TraceReport {
  const reason = `It has more than ${maxTraceSpans} spans, and was not verified`
  return { traceId, verdict: 'incomplete', spans, hops: [], findings: [], incomplete: [reason] }
}
