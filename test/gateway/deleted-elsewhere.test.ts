import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import type { ServerEvent } from '../../lib/protocol/events.ts'
import { until } from '../events/bus-contract.ts'
import { startProxy } from '../support/cluster/tcp-proxy.ts'
import { createGatedAgent, type GatedAgent } from '../support/gated-agent.ts'
import { connectAt, startSingleNode, tokenOf, type SingleNode } from '../support/single-node.ts'
import { openStream, TestStream } from '../support/test-stream.ts'
import { createThrowawayDatabase } from '../support/throwaway-database.ts'
import { within } from '../support/within.ts'

// A gateway that has lost Redis hears nothing of those that have not: what it must know all the same, the database has to tell.

const redisUrl = process.env['TEST_REDIS_URL']
const skip = (process.env['TEST_DATABASE_URL'] === undefined || redisUrl === undefined) && 'it needs the servers of TEST_DATABASE_URL and TEST_REDIS_URL'

t.test('a gateway without Redis', { skip }, async (t) => {
  const { one, other, gated, loseRedis } = await startService(t, redisUrl ?? '')

  async function threadOf (user: string): Promise<{ readonly token: string, readonly thread: string }> {
    const token = await tokenOf(user, one)
    const actor = await connectAt(t, one, token)
    const created = await actor.ask({ type: 'create_thread', payload: {} }) as ServerEvent<'thread_created'>
    await actor.close()
    return { token, thread: created.payload.thread_id }
  }

  const { token: alices, thread } = await threadOf('alice')
  const { token: bobs, thread: erased } = await threadOf('bob')
  const [alice, bob] = [await connectAt(t, other, alices, { thread_id: thread }), await connectAt(t, other, bobs, { thread_id: erased })]
  const run = { method: 'POST', token: alices, body: { content: 'held', agent: 'gated' } } as const
  const stream = await openStream(`${other.url}/v1/threads/${thread}/runs/stream`, run)
  if (!(stream instanceof TestStream)) throw new Error(`Refused: ${stream.text}`)
  await gated.arrived.next((content) => content === 'held')
  await loseRedis()

  // kill: `whenGone` in lib/gateway/thread-membership.ts is not set.
  t.test('tells its clients that a thread was deleted on another one, and lets none of them wait for its run', async (t) => {
    const actor = await connectAt(t, one, alices)

    await actor.ask({ type: 'delete_thread', payload: { thread_id: thread } })
    const ended = await within('the stream to end', stream.closed)
    const told = await within('the deletion to be told', alice.until('thread_deleted'))
    const refused = await alice.ask({ type: 'typing', payload: {} })

    t.equal(ended, 'ended')
    t.match(stream.events.at(-1), { type: 'thread_deleted', thread_id: null, payload: { thread_id: thread } })
    t.match(told, { user_id: 'alice', thread_id: null, payload: { thread_id: thread } })
    t.match(refused, { type: 'error', payload: { code: 'THREADLINE_THREAD_REQUIRED' } })
    t.same(bob.ofType('thread_deleted'), [])
  })

  t.test('tells them the same of threads of a user who was erased on another one, and follows none of them any more', async (t) => {
    const answer = await fetch(`${one.url}/v1/me`, { method: 'DELETE', headers: { authorization: `Bearer ${bobs}` } })
    await within('it to be told', bob.until('thread_deleted', ({ payload }) => payload.thread_id === erased))

    t.equal(answer.status, 200)
    t.equal(other.app.eventLog.followed, 0)
    t.equal(other.app.gateway.load.followedThreads, 0)
  })
})

interface Service {
  readonly one: SingleNode
  readonly other: SingleNode
  readonly gated: GatedAgent
  /** Of the other one, and resolves when it knows. */
  readonly loseRedis: () => Promise<void>
}

async function startService (t: Test, redis: string): Promise<Service> {
  const opened = new AsyncDisposableStack()
  t.teardown(async () => { await opened.disposeAsync() })
  const database = await createThrowawayDatabase({ migrated: true })
  if (database === undefined) throw new Error('TEST_DATABASE_URL is not set')
  opened.defer(database.drop)
  const proxy = await startProxy(t, redis)
  const gated = createGatedAgent()
  const common = { DATABASE_URL: database.url, DATABASE_POOL_SIZE: 4, SIGNING_KEYS: randomBytes(32).toString('hex'), TITLE_MODEL: 'off', DOUBTFUL_POLL_INTERVAL_MS: 50 }
  const start = async (role: string, url: string): Promise<SingleNode> => {
    const node = await startSingleNode({ agents: [gated.agent], env: { ...common, THREADLINE_ROLE: role, DEFAULT_AGENT: 'gated', REDIS_URL: url } })
    opened.defer(async () => { await node.app.close() })
    return node
  }
  await start('worker', redis)
  const [one, other] = [await start('gateway', redis), await start('gateway', proxy.url)]
  await until(() => !one.app.bus.doubtful && !other.app.bus.doubtful)
  return {
    one,
    other,
    gated,
    async loseRedis () {
      proxy.refuse()
      await until(() => other.app.bus.doubtful)
    }
  }
}
