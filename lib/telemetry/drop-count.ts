import { diag } from '@opentelemetry/api'
import { createCounter } from '../context/instruments.ts'
import { metricDefinitions } from '../context/metric-definitions.ts'

export const dropReasons = ['queue_full', 'export_failed'] as const
export type DropReason = typeof dropReasons[number]

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
  const counter = createCounter(metricDefinitions.droppedSpans)
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
      counter.add(spans, { reason })
      unreported += spans
      if (performance.now() - reportedAt > quietMs) report()
    }
  }
}
