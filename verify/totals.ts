import type { Finding, Report, TraceReport } from './report.ts'
import { verdictOf } from './verify-trace.ts'

/** How many findings, and how many reasons, are kept. */
const maxKept = 10_000

/** Adds up reports of traces. What is beyond the bound is counted, and not kept. */
export class Totals {
  readonly #findings: Finding[] = []
  readonly #incomplete: string[] = []
  readonly #traces = { checked: 0, clean: 0, withFindings: 0, incomplete: 0 }
  #spans = 0
  #skipped = 0
  #left = 0

  add ({ traceId, verdict, spans, findings, incomplete }: TraceReport): void {
    this.#spans += spans
    this.#traces.checked += 1
    this.#traces[verdict === 'findings' ? 'withFindings' : verdict] += 1
    for (const finding of findings) this.#keep(this.#findings, finding)
    for (const reason of incomplete) this.#keep(this.#incomplete, `Trace ${traceId}: ${reason}`)
  }

  /** One that was no span. */
  skip (): void { this.#skipped += 1 }

  report (): Report {
    const incomplete = [...this.#incomplete]
    if (this.#skipped > 0) incomplete.push(`${this.#skipped} spans have no usable ids or no time`)
    if (this.#left > 0) incomplete.push(`${this.#left} more findings or reasons are not listed`)
    return { verdict: verdictOf(this.#findings, incomplete), spans: this.#spans, traces: { ...this.#traces }, findings: [...this.#findings], incomplete }
  }

  #keep<T> (list: T[], item: T): void {
    if (list.length < maxKept) list.push(item)
    else this.#left += 1
  }
}
