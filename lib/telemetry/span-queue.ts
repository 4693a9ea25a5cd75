import { TraceFlags } from '@opentelemetry/api'
import { ExportResultCode } from '@opentelemetry/core'
import { BatchSpanProcessor, type SpanExporter, type SpanProcessor } from '@opentelemetry/sdk-trace'
import { createDropCount } from './drop-count.ts'

/** As the standard's `OTEL_BSP_*`: spans, spans, ms and ms. */
export interface SpanQueueLimits {
  readonly maxQueueSize: number
  readonly maxExportBatchSize: number
  readonly scheduledDelayMillis: number
  readonly exportTimeoutMillis: number
}

/**
 * Batches ended spans for an exporter. The queue is bounded; what does not fit, and what the exporter could not deliver, is counted
 * and logged. `forceFlush` waits for what is queued and for what is already on its way, which the SDK's processor does not.
 */
export function createSpanQueue (exporter: SpanExporter, limits: SpanQueueLimits): SpanProcessor {
  const drops = createDropCount()
  let waiting = 0

  const counted: SpanExporter = {
    export (spans, done) {
      waiting -= spans.length
      exporter.export(spans, (result) => {
        if (result.code !== ExportResultCode.SUCCESS) drops.add(spans.length, 'export_failed')
        done(result)
      })
    },
    forceFlush: async () => { await exporter.forceFlush?.() },
    shutdown: () => exporter.shutdown()
  }
  const batches = new BatchSpanProcessor({ ...limits, exporter: counted })

  return {
    onStart () {},
    onEnd (span) {
      if ((span.spanContext().traceFlags & TraceFlags.SAMPLED) === 0) return
      // The SDK's processor would drop it too, but tell nobody before there is room again.
      if (waiting >= limits.maxQueueSize) {
        drops.add(1, 'queue_full')
        return
      }
      waiting += 1
      batches.onEnd(span)
    },
    async forceFlush () {
      const [queued, sent] = await Promise.allSettled([batches.forceFlush(), exporter.forceFlush?.()])
      drops.report()
      if (queued.status === 'rejected') throw queued.reason
      if (sent.status === 'rejected') throw sent.reason
    },
    async shutdown () {
      await batches.shutdown()
      drops.report()
    }
  }
}
