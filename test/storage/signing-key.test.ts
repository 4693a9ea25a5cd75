import t from 'tap'
import { onEachDatabase } from '../support/storage-databases.ts'

onEachDatabase(t, async (t, { storage, another }) => {
  t.test('processes that ask at once for the key of a new database have the same one, and keep it', async (t) => {
    // kill: return the bytes that were made instead of those that are stored, in lib/storage/signing-key.ts
    const nodes = await Promise.all(Array.from({ length: 6 }, async () => await another(t)))

    const keys = await Promise.all(nodes.map(async (node) => Buffer.from(await node.signingKey()).toString('hex')))

    t.equal(new Set(keys).size, 1)
    t.match(keys[0], /^[0-9a-f]{64}$/)
    t.equal(Buffer.from(await storage.signingKey()).toString('hex'), keys[0])
  })
})
