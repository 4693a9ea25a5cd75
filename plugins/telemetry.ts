import { getRPCMetadata, RPCType } from '@opentelemetry/core'
import { context } from '@opentelemetry/api'
import fp from 'fastify-plugin'
import { flushTelemetry } from '../lib/telemetry/flush.ts'

/** In ms. What the last spans get even when everything else took all the time there was. */
const shortestFlushMs = 500

/**
 * Names the spans of HTTP requests by their route, and sends the last spans at the very end: registered first, closed last, in the time
 * that the others have left. The SDK itself is started by the preload, `telemetry.ts`; without it there is nothing to name and
 * nothing to send.
 */
export default fp(async function telemetry (app) {
  app.addHook('onRequest', async (request) => {
    const metadata = getRPCMetadata(context.active())
    if (metadata?.type === RPCType.HTTP && request.routeOptions.url !== undefined) metadata.route = request.routeOptions.url
  })

  const { shutdownTimeoutMs } = app.config
  let closingSince = 0
  app.addHook('preClose', async () => { closingSince = performance.now() })

  app.addHook('onClose', async () => {
    const remainingMs = shutdownTimeoutMs - (performance.now() - closingSince)
    const outcome = await flushTelemetry(Math.max(remainingMs, Math.min(shortestFlushMs, shutdownTimeoutMs)))
    if (outcome !== 'flushed') app.log.warn({ outcome }, 'the last spans may be lost')
  })
}, { name: 'telemetry', fastify: '5.x', dependencies: ['config'] })
