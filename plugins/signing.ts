import fp from 'fastify-plugin'
import { createSigner, type Signer } from '../lib/context/signature.ts'

declare module 'fastify' {
  interface FastifyInstance {
    signer: Signer
  }
}

/**
 * Signs what goes from node to node, through the queue and through the buses, so that nobody else is listened to. With the keys of `SIGNING_KEYS`, which
 * all nodes share; without them with the one that the database keeps.
 */
export default fp(async function signing (app) {
  const [first, ...others] = app.config.signingKeys.map((text) => Buffer.from(text))

  app.decorate('signer', createSigner([first ?? await app.storage.signingKey(), ...others]))
}, { name: 'signing', fastify: '5.x', dependencies: ['config', 'storage'] })
