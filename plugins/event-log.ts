import fp from 'fastify-plugin'
import type { EventLog } from '../lib/events/event-log.ts'
import { createStoredEventLog } from '../lib/events/stored-event-log.ts'

declare module 'fastify' {
  interface FastifyInstance {
    eventLog: EventLog
  }
}

/** The log of every thread's events, in the storage. Closed after the engine, whose last events it still takes. */
export default fp(async function eventLog (app) {
  const log = createStoredEventLog({ store: app.storage.events, epoch: app.storage.epoch, logger: app.log })

  app.decorate('eventLog', log)
  app.addHook('onClose', async () => { await log.close() })
}, { name: 'event-log', fastify: '5.x', dependencies: ['storage'] })
