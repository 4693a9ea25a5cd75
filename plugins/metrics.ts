import { setTimeout as delay } from 'node:timers/promises'
import fp from 'fastify-plugin'
import { metricDefinitions } from '../lib/context/metric-definitions.ts'
import { measureEnd } from '../lib/engine/run-metrics.ts'
import { measureDelivery, takeCensus } from '../lib/gateway/gateway-metrics.ts'
import { observe } from '../lib/telemetry/observe.ts'
import { prometheusUrl } from '../lib/telemetry/prometheus-endpoint.ts'
import { startAtZero } from '../lib/telemetry/start-at-zero.ts'

/** In ms. A storage that takes longer to answer is not ready. */
const readyLimitMs = 1_000

/**
 * Shows the live state of the server to whoever collects metrics, and measures what leaves and what ends. What happens elsewhere is counted
 * where it happens. Without a reader, which `OTEL_METRICS_EXPORTER` names, nobody asks and nothing is kept.
 */
export default fp(async function metrics (app) {
  const { agents, bus, config, engine, eventLog, gateway, storage } = app
  const {
    connections, users, followedThreads, unreadBytes, activeRuns, waitingRuns, slotsTaken, slotLimit, waitingEvents, busDoubtful, queueDepth, ready
  } = metricDefinitions

  startAtZero(agents.agents.map(({ name }) => name))
  const observed = [
    observe(connections, () => Object.entries(takeCensus(gateway.registry).open).map(([transport, value]) => ({ value, labels: { transport } }))),
    observe(users, () => ({ value: gateway.load.users })),
    observe(followedThreads, () => ({ value: gateway.load.followedThreads })),
    observe(unreadBytes, () => ({ value: takeCensus(gateway.registry).unreadBytes })),
    observe(activeRuns, () => ({ value: engine.load.runs })),
    observe(waitingRuns, () => ({ value: engine.load.waiting })),
    observe(slotsTaken, () => ({ value: engine.load.slotsTaken })),
    observe(slotLimit, () => ({ value: config.maxConcurrentRuns })),
    observe(waitingEvents, () => ({ value: eventLog.waiting })),
    observe(busDoubtful, () => ({ value: bus.doubtful ? 1 : 0 })),
    observe(queueDepth, async () => Object.entries(await inTime(() => storage.queue.depth()) ?? {}).map(([state, value]) => ({ value, labels: { state } }))),
    observe(ready, async () => ({ value: await inTime(async () => { await storage.ping(); return true }) === true ? 1 : 0 }))
  ]
  const stopMeasuring = gateway.onSent(measureDelivery)
  // Not taken away: a run that ends while the server closes is counted as well, and the listener goes with its engine.
  engine.onEnded(measureEnd)

  app.addHook('onReady', async () => {
    const url = prometheusUrl()
    if (url !== undefined) app.log.info({ url }, 'Metrics are served to Prometheus')
  })
  app.addHook('onClose', async () => {
    stopMeasuring()
    for (const stop of observed) stop()
  })
}, { name: 'metrics', fastify: '5.x', dependencies: ['config', 'storage', 'bus', 'event-log', 'agents', 'engine', 'gateway'] })

/** Undefined when it fails, or takes longer than a storage may that is ready. */
async function inTime<T> (ask: () => Promise<T>): Promise<T | undefined> {
  const limit = new AbortController()
  const late = delay(readyLimitMs, undefined, { signal: limit.signal }).catch(() => undefined)
  try {
    return await Promise.race([ask().catch(() => undefined), late])
  } finally {
    limit.abort()
  }
}
