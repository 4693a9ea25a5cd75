import { metrics, trace } from '@opentelemetry/api'
import fastify from 'fastify'
import t, { type Test } from 'tap'
import config from '../../plugins/config.ts'
import telemetry from '../../plugins/telemetry.ts'

/** A provider as an SDK registers it, as far as a flush sees it. */
function registerProvider (t: Test, forceFlush: () => Promise<void>): void {
  trace.setGlobalTracerProvider({ getTracer: (name) => trace.getTracer(name), forceFlush } as ReturnType<typeof trace.getTracerProvider>)
  t.teardown(() => { trace.disable() })
}

async function createApp (shutdownTimeoutMs: number) {
  const warnings: unknown[] = []
  const app = fastify({ logger: { level: 'warn', stream: { write: (line: string) => { warnings.push(JSON.parse(line)) } } } })
  await app.register(config, { env: { SHUTDOWN_TIMEOUT_MS: shutdownTimeoutMs } })
  await app.register(telemetry)
  return { app, warnings }
}

t.test('the last spans are sent after everything else has closed', async (t) => {
  const order: string[] = []
  registerProvider(t, async () => { order.push('flushed') })
  const { app, warnings } = await createApp(5000)
  app.addHook('onClose', async () => { order.push('closed') })

  await app.close()

  t.same(order, ['closed', 'flushed'])
  t.same(warnings, [])
})

t.test('a flush that hangs does not keep the server from closing, and is told', async (t) => {
  const { promise, resolve } = Promise.withResolvers<void>()
  registerProvider(t, async () => await promise)
  const { app, warnings } = await createApp(20)

  await app.close()

  t.match(warnings, [{ outcome: 'timed_out', msg: 'the last spans may be lost' }])
  resolve()
})

t.test('a flush gets the time that the others have left', async (t) => {
  registerProvider(t, async () => await new Promise(() => {}))
  const { app, warnings } = await createApp(1500)
  const until = performance.now() + 1200
  app.addHook('onClose', async () => { while (performance.now() < until) await new Promise((resolve) => setImmediate(resolve)) })
  const startedAt = performance.now()

  await app.close()

  const tookMs = performance.now() - startedAt
  t.match(warnings, [{ outcome: 'timed_out' }])
  t.ok(tookMs > 1600, `at least the shortest time for a flush: ${tookMs} ms`)
  t.ok(tookMs < 2500, `not both limits after each other: ${tookMs} ms`)
})

t.test('a flush that fails does not fail the close, and is told', async (t) => {
  registerProvider(t, async () => { throw new Error('on purpose') })
  const { app, warnings } = await createApp(5000)

  await app.close()

  t.match(warnings, [{ outcome: 'failed' }])
})

t.test('without an SDK a server starts and closes', async (t) => {
  const { app, warnings } = await createApp(5000)

  await app.close()

  t.same(warnings, [])
  t.notOk('forceFlush' in metrics.getMeterProvider())
})
