import fp from 'fastify-plugin'
import { createSigner, storedKeyName, type Signer } from '../lib/context/signature.ts'

declare module 'fastify' {
  interface FastifyInstance {
    signer: Signer
  }
}

/**
 * Signs what goes from node to node, through the queue and through the buses, so that nobody else is listened to. With the keys of `SIGNING_KEYS`, which
 * all nodes share; without them with the one that the database keeps. That one is trusted only where it is named, or where there is no other: whoever can
 * read the database has it, too.
 */
export default fp(async function signing (app) {
  const { config: { signingKeys: [first = storedKeyName, ...others] }, storage } = app
  const keyOf = async (name: string): Promise<Uint8Array> => name === storedKeyName ? await storage.signingKey() : Buffer.from(name)

  app.decorate('signer', createSigner([await keyOf(first), ...await Promise.all(others.map(keyOf))]))
}, { name: 'signing', fastify: '5.x', dependencies: ['config', 'storage'] })
