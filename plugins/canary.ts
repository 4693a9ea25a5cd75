import fp from 'fastify-plugin'
import { CanaryLoop } from '../lib/canary/canary-loop.ts'
import { startAtZero } from '../lib/canary/crossing.ts'
import { playRound } from '../lib/canary/round.ts'
import { Watch } from '../lib/canary/watch.ts'
import { violationChannel, type Violation } from '../lib/context/guard.ts'
import { harmless } from '../lib/telemetry/span-channels.ts'

/**
 * Two users of the service itself, who chat on a schedule with words that nobody else knows, and raise the alarm when one of these is found in
 * a wrong place. Their rounds begin when the server is ready, and are given up when it closes. Nothing of this is there while they are off. A worker has
 * them as well, when the others do: it plays no rounds of its own, executes what is said in those of the others, and watches.
 *
 * Registered before the routes, whose answers it looks through; streams of text over HTTP are not among these.
 */
export default fp(async function canary (app) {
  const { canary, canaryIntervalMs: intervalMs } = app.config
  if (canary === 'off') return
  const { gateway, storage, engine, eventLog: log, log: logger } = app
  const watch = new Watch(logger)
  const loop = new CanaryLoop({
    play: async (signal) => { await playRound({ gateway, storage, engine, log, watch }, signal) }, watch, intervalMs, logger
  })
  const violated = harmless((violation) => { watch.violated(violation as Violation) }) // the channel carries nothing else
  const unwatch = gateway.onSent(watch.sent)
  violationChannel.subscribe(violated)

  app.addHook('onSend', (request, _reply, payload, done) => {
    if (typeof payload === 'string') watch.responded(request.routeOptions.url ?? '', payload)
    done(null, payload)
  })
  app.addHook('onReady', async () => {
    startAtZero()
    if (app.node.serves) loop.start()
  })
  app.addHook('onClose', async () => {
    await loop.close()
    unwatch()
    violationChannel.unsubscribe(violated)
  })
}, { name: 'canary', fastify: '5.x', dependencies: ['config', 'node', 'storage', 'event-log', 'engine', 'gateway'] })
