import fp from 'fastify-plugin'
import { PurgeLoop } from '../lib/storage/purge-loop.ts'

/**
 * Takes away what is kept no longer: deleted threads, old events where they are not kept for ever, expired tickets. It begins when the
 * server is ready, which does not wait for it. Closed before the storage.
 */
export default fp(async function upkeep (app) {
  const { threadRetentionDays, eventRetentionDays, upkeepIntervalMs: intervalMs } = app.config
  const loop = new PurgeLoop({ upkeep: app.storage.upkeep, threadRetentionDays, eventRetentionDays, intervalMs, logger: app.log })

  app.addHook('onReady', async () => { loop.start() })
  app.addHook('onClose', async () => { await loop.close() })
}, { name: 'upkeep', fastify: '5.x', dependencies: ['config', 'storage'] })
