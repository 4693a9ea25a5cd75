import { diag, metrics, type Counter } from '@opentelemetry/api'

export type DropReason = 'queue_full' | 'export_failed'

/** Spans that were lost, as the metric `threadline.telemetry.spans_dropped{reason}` and in the log. */
export interface DropCount {
  add (spans: number, reason: DropReason): void
  /** Logs what has not been logged yet. */
  report (): void
}

/** In ms. A queue that overflows loses thousands of spans a second. */
const quietMs = 10_000

/** The first loss is logged at once, further ones as a sum at most every 10 s. */
export function createDropCount (): DropCount {
  let counter: Counter | undefined
  let unreported = 0
  let reportedAt = -Infinity

  function report (): void {
    if (unreported === 0) return
    diag.warn(`${unreported} spans were dropped`)
    unreported = 0
    reportedAt = performance.now()
  }

  return {
    report,
    add (spans, reason) {
      // Not before the first loss: whoever asks for a meter before the SDK has started gets one without effect.
      counter ??= metrics.getMeter('threadline').createCounter('threadline.telemetry.spans_dropped', {
        unit: '{span}',
        description: 'Spans that were lost before they were exported'
      })
      counter.add(spans, { reason })
      unreported += spans
      if (performance.now() - reportedAt > quietMs) report()
    }
  }
}
