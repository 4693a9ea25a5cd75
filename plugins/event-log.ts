import fp from 'fastify-plugin'
import type { EventLog } from '../lib/events/event-log.ts'
import { createStoredEventLog } from '../lib/events/stored-event-log.ts'

declare module 'fastify' {
  interface FastifyInstance {
    eventLog: EventLog
  }
}

/**
 * The log of every thread's events, in the storage, and what tells it of events that other nodes append. Closed after the engine, whose last events it
 * still takes.
 */
export default fp(async function eventLog (app) {
  const { bus, config: { pollIntervalMs, doubtfulPollIntervalMs }, log: logger, node, storage: { events: store, epoch } } = app
  const peers = node.hasPeers ? { bus, pollIntervalMs, doubtfulPollIntervalMs } : undefined
  const log = createStoredEventLog({ store, epoch, logger, peers })

  app.decorate('eventLog', log)
  app.addHook('onClose', async () => { await log.close() })
}, { name: 'event-log', fastify: '5.x', dependencies: ['config', 'node', 'bus', 'storage'] })
