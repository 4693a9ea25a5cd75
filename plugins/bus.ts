import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { EventBus } from '../lib/events/event-bus.ts'
import { createLoneBus } from '../lib/events/lone-bus.ts'
import { createPostgresBus } from '../lib/events/postgres-bus.ts'

declare module 'fastify' {
  interface FastifyInstance {
    bus: EventBus
  }
}

/** What the nodes of the service tell each other. Closed after everything that tells or listens. */
export default fp(async function bus (app) {
  const opened = openBus(app)

  app.decorate('bus', opened)
  app.addHook('onClose', async () => { await opened.close() })
}, { name: 'bus', fastify: '5.x', dependencies: ['config', 'node', 'signing', 'storage'] })

function openBus ({ node: { id: node }, signer, log: logger, config: { databaseUrl, databaseListenUrl: listenUrl } }: FastifyInstance): EventBus {
  if (databaseUrl === undefined) return createLoneBus(node)
  return createPostgresBus({ node, signer, logger, url: databaseUrl, listenUrl })
}
