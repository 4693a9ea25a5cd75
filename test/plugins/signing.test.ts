import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { createSigner } from '../../lib/context/signature.ts'
import { metricDefinitions } from '../../lib/context/metric-definitions.ts'
import type { ServerEvent } from '../../lib/protocol/events.ts'
import { watchCounters } from '../support/counters.ts'
import { connectAt, startSingleNode, type SingleNode } from '../support/single-node.ts'
import { accessSettings, tokenOf } from '../support/cluster/access.ts'
import type { TestSocket } from '../support/test-socket.ts'
import { createThrowawayDatabase } from '../support/throwaway-database.ts'
import { within } from '../support/within.ts'

// Nodes of one service while their keys are changed, one round after the other (docs/deployment.md).

const [first, second] = [randomBytes(32).toString('hex'), randomBytes(32).toString('hex')]
const withoutServer = process.env['TEST_DATABASE_URL'] === undefined && 'several nodes need the server of TEST_DATABASE_URL'
const redisUrl = process.env['TEST_REDIS_URL']

type Keys = string | undefined

interface Site {
  readonly start: (role: 'gateway' | 'worker', keys: Keys) => Promise<SingleNode>
  readonly connect: (node: SingleNode, user: string, query?: Readonly<Record<string, string>>) => Promise<TestSocket>
  /** Signatures that were refused, by why. */
  readonly refused: () => readonly unknown[]
}

async function openSite (t: Test): Promise<Site> {
  const database = await createThrowawayDatabase({ migrated: true })
  const counts = watchCounters(t)
  t.teardown(async () => { await database?.drop() })
  return {
    async start (role, keys) {
      const env = {
        ...accessSettings, DATABASE_URL: database?.url, REDIS_URL: redisUrl, DATABASE_POOL_SIZE: 3, THREADLINE_ROLE: role, SIGNING_KEYS: keys, DEFAULT_AGENT: 'echo', TITLE_MODEL: 'off'
      }
      const node = await startSingleNode({ env })
      t.teardown(async () => { await node.app.close() })
      return node
    },
    connect: async (node, user, query) => await connectAt(t, node, await tokenOf(user), query),
    refused: () => counts.filter(({ counter, value }) => counter === metricDefinitions.refusedSignatures.name && value > 0).map(({ attributes }) => attributes)
  }
}

async function newThread (socket: TestSocket): Promise<string> {
  const { payload } = await socket.ask({ type: 'create_thread', payload: {} }) as ServerEvent<'thread_created'>
  return payload.thread_id
}

async function chatAt ({ connect }: Site, node: SingleNode, user: string): Promise<ServerEvent<'agent_completed'>> {
  const thread = await newThread(await connect(node, user))
  const socket = await connect(node, user, { thread_id: thread })
  return await within('the end of the run', socket.chat('Who signs?'))
}

async function presentAtBoth ({ connect }: Site, nodes: readonly SingleNode[], user: string): Promise<void> {
  const [one, other] = nodes
  if (one === undefined || other === undefined) throw new Error('It takes two')
  const thread = await newThread(await connect(one, user))
  const sockets = [await connect(one, user, { thread_id: thread }), await connect(other, user, { thread_id: thread })]
  await Promise.all(sockets.map(async (socket) => {
    await within('both to be told of each other', socket.until('presence', ({ payload }) => payload.connections === 2))
  }))
}

const rounds: readonly { readonly what: string, readonly from: Keys, readonly to: Keys }[] = [
  { what: 'the key of the database, and the first one of their own behind it', from: undefined, to: `database,${first}` },
  { what: 'the key of the database in front, and the own one in front of it', from: `database,${first}`, to: `${first},database` },
  { what: 'the own key with that of the database, and the own one alone', from: `${first},database`, to: first },
  { what: 'one own key, and another one behind it', from: first, to: `${first},${second}` },
  { what: 'one own key in front, and another one in front of it', from: `${first},${second}`, to: `${second},${first}` },
  { what: 'two own keys, and the newer one alone', from: `${second},${first}`, to: second }
]

// kill: plugins/signing.ts takes the first key only.
for (const { what, from, to } of rounds) {
  t.test(`nodes that have ${what}, work side by side`, { skip: withoutServer }, async (t) => {
    const site = await openSite(t)
    const gateways = [await site.start('gateway', from), await site.start('gateway', to)] as const

    for (const [gateway, worker] of [[gateways[0], to], [gateways[1], from]] as const) {
      const { app } = await site.start('worker', worker)
      t.match(await chatAt(site, gateway, 'alice'), { payload: { status: 'completed' } }, 'a run that one has queued is executed by the other')
      await app.close()
    }
    await presentAtBoth(site, gateways, 'bob')

    t.same(site.refused(), [])
  })
}

// kills: plugins/signing.ts adds the stored key to all others; the name of the stored key is a key like others there.
t.test('once the key of the database is retired, what it has signed is refused', { skip: withoutServer }, async (t) => {
  const site = await openSite(t)
  const [forger, gateway] = [await site.start('gateway', undefined), await site.start('gateway', first)]
  await site.start('worker', first)

  const stored = createSigner([await forger.app.storage.signingKey()])
  t.equal(forger.app.signer.refuse('run', [], stored.sign('run', [], 60_000)), undefined, 'it is the one that the database keeps')
  t.match(await chatAt(site, gateway, 'alice'), { payload: { status: 'completed' } })
  t.same(site.refused().filter((attributes) => (attributes as { audience: string }).audience === 'run'), [])
  t.match(await chatAt(site, forger, 'bob'), { payload: { status: 'failed', error: { code: 'THREADLINE_UNTRUSTED_RUN' } } })
  t.match(new Set(site.refused().map((attributes) => JSON.stringify(attributes))), new Set([
    JSON.stringify({ audience: 'bus', reason: 'foreign' }), JSON.stringify({ audience: 'run', reason: 'foreign' })
  ]))
})
