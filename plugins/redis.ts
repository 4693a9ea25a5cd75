import fp from 'fastify-plugin'
import { RedisConnection } from '../lib/events/redis-connection.ts'
import { readAuthorities } from '../lib/events/redis-trust.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Undefined without `REDIS_URL`. It may be away at any time, also at the start: nothing of the service depends on it. */
    redis: RedisConnection | undefined
  }
}

/** This node's connection to Redis, for the bus and for what nodes count together. Nothing waits for it. */
export default fp(async function redis (app) {
  const { redisUrl, redisCaFile } = app.config
  const authorities = redisCaFile === undefined ? undefined : await readAuthorities(redisCaFile)
  const connection = redisUrl === undefined ? undefined : new RedisConnection({ url: redisUrl, authorities, logger: app.log })

  app.decorate('redis', connection)
  app.addHook('onClose', async () => { await connection?.close() })
}, { name: 'redis', fastify: '5.x', dependencies: ['config'] })
