import { randomUUID } from 'node:crypto'
import fp from 'fastify-plugin'

declare module 'fastify' {
  interface FastifyInstance {
    node: {
      /** Of this process; no two have the same, and it has another one after each start. */
      readonly id: string
      /** Takes runs from the queue. */
      readonly executes: boolean
      /** Serves sockets and requests of users. */
      readonly serves: boolean
      /** Others may work on the same database at the same time. */
      readonly hasPeers: boolean
    }
  }
}

/** Which part of the service this process is. Every node can do everything; its role says what it is asked for. */
export default fp(async function node (app) {
  const { role, databaseUrl } = app.config

  app.decorate('node', {
    id: `node-${randomUUID()}`,
    executes: role !== 'gateway',
    serves: role !== 'worker',
    hasPeers: databaseUrl !== undefined
  })
}, { name: 'node', fastify: '5.x', dependencies: ['config'] })
