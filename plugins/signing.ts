import { randomBytes } from 'node:crypto'
import fp from 'fastify-plugin'
import { createSigner, type Signer } from '../lib/context/signature.ts'

declare module 'fastify' {
  interface FastifyInstance {
    signer: Signer
  }
}

/**
 * Signs what goes from node to node, through the queue and through the buses, so that no other is listened to. With the keys of `SIGNING_KEYS`; without
 * them with one that this process has made.
 */
export default fp(async function signing (app) {
  const [first, ...others] = app.config.signingKeys.map((text) => Buffer.from(text))

  app.decorate('signer', createSigner([first ?? randomBytes(32), ...others]))
}, { name: 'signing', fastify: '5.x', dependencies: ['config', 'storage'] })
