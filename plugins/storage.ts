import fp from 'fastify-plugin'
import { createStorage } from '../lib/storage/open-storage.ts'
import type { Storage } from '../lib/stores/storage.ts'

declare module 'fastify' {
  interface FastifyInstance {
    storage: Storage
  }
}

/**
 * Opens the storage: the server named by `databaseUrl`, else the embedded database in `dataFolder`, in memory when that is
 * absent. A server's schema is brought up when the login may do that, and checked when it may not. Closed after everything that uses
 * it, because `onClose` runs in reverse order of registration.
 */
export default fp(async function storage (app) {
  const { databaseUrl, databasePoolSize, dataFolder } = app.config
  const opened = await createStorage({
    databaseUrl,
    poolSize: databasePoolSize,
    dataFolder,
    logger: app.log
  })

  app.decorate('storage', opened)
  app.addHook('onClose', async () => { await opened.close() })
}, { name: 'storage', fastify: '5.x', dependencies: ['config'] })
