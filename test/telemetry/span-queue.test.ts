import { metrics } from '@opentelemetry/api'
import { ExportResultCode, type ExportResult } from '@opentelemetry/core'
import { TracerProvider, type ReadableSpan, type SpanExporter } from '@opentelemetry/sdk-trace'
import t, { type Test } from 'tap'
import { createSpanQueue } from '../../lib/telemetry/span-queue.ts'

/** An exporter that answers when it is told to. */
function createSlowExporter () {
  const exports: { readonly spans: readonly ReadableSpan[], readonly answer: (result: ExportResult) => void }[] = []
  const idle = Promise.withResolvers<void>()
  const exporter: SpanExporter = {
    export (spans, answer) { exports.push({ spans, answer }) },
    forceFlush: async () => await idle.promise,
    shutdown: async () => {}
  }
  return { exporter, exports, idle }
}

interface Drop { readonly spans: number, readonly reason: unknown }

/** The drops that are counted, as a meter provider sees them. */
function countDrops (t: Test): readonly Drop[] {
  const drops: Drop[] = []
  const noop = metrics.getMeterProvider()
  metrics.setGlobalMeterProvider({
    getMeter: (name) => Object.assign(Object.create(noop.getMeter(name)), {
      createCounter: (counter: string) => ({
        add: (spans: number, { reason }: { reason: string }) => { if (counter === 'threadline.telemetry.spans_dropped') drops.push({ spans, reason }) }
      })
    })
  })
  t.teardown(() => { metrics.disable() })
  return drops
}

const limits = { maxQueueSize: 4, maxExportBatchSize: 2, scheduledDelayMillis: 60_000, exportTimeoutMillis: 60_000 }

function endSpans (provider: TracerProvider, count: number): void {
  for (let index = 0; index < count; index += 1) provider.getTracer('test').startSpan(`span ${index}`).end()
}

t.test('what does not fit is counted, and there is room again for what has been sent', async (t) => {
  const drops = countDrops(t)
  const { exporter, exports, idle } = createSlowExporter()
  const queue = createSpanQueue(exporter, limits)
  const provider = new TracerProvider({ spanProcessors: [queue] })

  endSpans(provider, 7)
  t.equal(exports.length, 1, 'the first batch is on its way, so four more fit')
  t.same(drops, [{ spans: 1, reason: 'queue_full' }])

  exports[0]?.answer({ code: ExportResultCode.SUCCESS })
  idle.resolve()
  const flushed = queue.forceFlush()
  for (const { answer } of exports.slice(1)) answer({ code: ExportResultCode.SUCCESS })
  await flushed
  endSpans(provider, 1)
  t.equal(exports.flatMap(({ spans }) => spans).length, 6)
  t.equal(drops.length, 1)
})

t.test('a batch that could not be delivered is counted', async (t) => {
  const drops = countDrops(t)
  const { exporter, exports, idle } = createSlowExporter()
  const queue = createSpanQueue(exporter, limits)
  idle.resolve()

  endSpans(new TracerProvider({ spanProcessors: [queue] }), 1)
  const flushed = queue.forceFlush()
  exports[0]?.answer({ code: ExportResultCode.FAILED, error: new Error('on purpose') })

  await t.rejects(flushed, { message: 'on purpose' })
  t.same(drops, [{ spans: 1, reason: 'export_failed' }])
})

t.test('a flush waits for what is already on its way', async (t) => {
  const { exporter, exports, idle } = createSlowExporter()
  const queue = createSpanQueue(exporter, limits)
  let flushed = false

  endSpans(new TracerProvider({ spanProcessors: [queue] }), 2)
  const flush = queue.forceFlush().then(() => { flushed = true })
  t.equal(exports.length, 1)
  await new Promise((resolve) => setImmediate(resolve))
  t.notOk(flushed)

  exports[0]?.answer({ code: ExportResultCode.SUCCESS })
  idle.resolve()
  await flush
  t.ok(flushed)
})
