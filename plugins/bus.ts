import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { deriveKey } from '../lib/context/signature.ts'
import { createCompositeBus } from '../lib/events/composite-bus.ts'
import type { EventBus } from '../lib/events/event-bus.ts'
import { createLoneBus } from '../lib/events/lone-bus.ts'
import { NodeClocks } from '../lib/events/node-clocks.ts'
import { createPostgresBus } from '../lib/events/postgres-bus.ts'
import { createRedisBus } from '../lib/events/redis-bus.ts'

declare module 'fastify' {
  interface FastifyInstance {
    bus: EventBus
  }
}

/**
 * What the nodes of the service tell each other: over the database that they share, and faster over Redis where there is one and while it is there. Closed
 * after everything that tells or listens.
 */
export default fp(async function bus (app) {
  const opened = await openBus(app)

  app.decorate('bus', opened)
  app.addHook('onClose', async () => { await opened.close() })
}, { name: 'bus', fastify: '5.x', dependencies: ['config', 'node', 'signing', 'storage', 'redis'] })

async function openBus ({ node: { id: node }, signer, log: logger, redis, config, storage }: FastifyInstance): Promise<EventBus> {
  const { databaseUrl: url, databaseListenUrl: listenUrl } = config
  if (url === undefined) return createLoneBus(node)
  const clocks = new NodeClocks({ logger }) // one, so that what is refused by one bus is missing on both
  const steady = createPostgresBus({ node, signer, logger, clocks, url, listenUrl })
  if (redis === undefined) return steady
  // Whoever shares the database shares this name, whatever keys its nodes sign with at the moment.
  const service = Buffer.from(deriveKey(await storage.signingKey(), 'threadline service name')).toString('hex').slice(0, 16)
  return createCompositeBus({ fast: createRedisBus({ node, service, signer, logger, clocks, connection: redis }), steady })
}
