import type { SeenSpan } from './seen-span.ts'

/** Spans by trace. A trace of more than `maxTraceSpans` is counted from then on, and not kept. */
export class TraceGroups {
  readonly #maxTraceSpans: number
  readonly #tooLarge: Map<string, number>
  #traces = new Map<string, SeenSpan[]>()
  #size = 0

  /** `tooLarge`: the traces that were found too large, with the number of their spans. It is written to, and may be shared. */
  constructor (maxTraceSpans: number, tooLarge: Map<string, number>) {
    this.#maxTraceSpans = maxTraceSpans
    this.#tooLarge = tooLarge
  }

  /** Spans that are kept. */
  get size (): number { return this.#size }

  get traces (): ReadonlyMap<string, readonly SeenSpan[]> { return this.#traces }

  add (span: SeenSpan): void {
    const { traceId } = span
    const counted = this.#tooLarge.get(traceId)
    if (counted !== undefined) {
      this.#tooLarge.set(traceId, counted + 1)
      return
    }
    const trace = this.#traces.get(traceId)
    if (trace === undefined) this.#traces.set(traceId, [span])
    else if (trace.length < this.#maxTraceSpans) trace.push(span)
    else return this.#drop(traceId, trace)
    this.#size += 1
  }

  /** Gives all that is kept away. */
  take (): ReadonlyMap<string, readonly SeenSpan[]> {
    const traces = this.#traces
    this.#traces = new Map()
    this.#size = 0
    return traces
  }

  #drop (traceId: string, trace: readonly SeenSpan[]): void {
    this.#traces.delete(traceId)
    this.#size -= trace.length
    this.#tooLarge.set(traceId, trace.length + 1)
  }
}
