import { randomBytes } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { ServerEvent } from '../../lib/protocol/events.ts'
import { createGatedAgent } from '../support/gated-agent.ts'
import { connectAt, openAt, post, startSingleNode, tokenOf, type SingleNode } from '../support/single-node.ts'
import { TestSocket } from '../support/test-socket.ts'
import { createThrowawayDatabase } from '../support/throwaway-database.ts'
import { watchViolations } from '../support/violations.ts'
import { watchCanary } from '../support/watch-canary.ts'
import { within } from '../support/within.ts'

// Two gateways and a worker over one database server, each with its own address, and clients on all of them.

const keys = randomBytes(32).toString('hex')
const redisUrl = process.env['TEST_REDIS_URL']
const withoutServer = process.env['TEST_DATABASE_URL'] === undefined && 'several nodes need the server of TEST_DATABASE_URL'
const withoutRedis = withoutServer !== false ? withoutServer : redisUrl === undefined && 'it needs the server of TEST_REDIS_URL'

t.test('over the database alone', { skip: withoutServer }, async (t) => { await run(t, {}) })
t.test('with Redis beside it', { skip: withoutRedis }, async (t) => { await run(t, { REDIS_URL: redisUrl }) })

async function run (t: Test, env: Readonly<Record<string, string | undefined>>): Promise<void> {
  const database = await createThrowawayDatabase({ migrated: true })
  t.teardown(async () => { await database?.drop() })
  const gated = createGatedAgent()
  const canary = watchCanary(t)
  const violations = watchViolations(t)
  const [worker, one, other] = [await startNode('worker'), await startNode('gateway'), await startNode('gateway')]
  // Closed before the database is dropped, gateways first.
  t.teardown(async () => { for (const { app } of [one, other, worker]) await app.close() })

  async function startNode (role: string): Promise<SingleNode> {
    return await startSingleNode({
      agents: [gated.agent],
      env: {
        ...env, DATABASE_URL: database?.url, DATABASE_POOL_SIZE: 4, THREADLINE_ROLE: role, SIGNING_KEYS: keys, DEFAULT_AGENT: 'echo', TITLE_MODEL: 'local',
        MESSAGES_PER_WINDOW: 30, MESSAGE_WINDOW_MS: 600_000, MAX_CONNECTIONS_PER_USER: 4, THREADLINE_CANARY: 'on', THREADLINE_CANARY_INTERVAL_MS: 3_600_000
      }
    })
  }

  /** With a token that the other gateway has signed. */
  async function connect (node: SingleNode, user: string, names?: Readonly<Record<string, string>>): Promise<TestSocket> {
    return await connectAt(t, node, await tokenOf(user, node === one ? other : one), names)
  }

  async function threadOf (socket: TestSocket): Promise<string> {
    const created = await socket.ask({ type: 'create_thread', payload: {} }) as ServerEvent<'thread_created'>
    return created.payload.thread_id
  }

  t.test('a worker answers to probes, and has nothing else', async (t) => {
    for (const path of ['live', 'ready']) t.match(await (await fetch(`${worker.url}/health/${path}`)).json(), { status: 'ok' })
    for (const path of ['/v1/threads', '/v1/me', '/v1/docs', '/v1/openapi.json', '/v1/socket', '/nowhere']) {
      const answer = await fetch(`${worker.url}${path}`)
      t.equal(answer.status, 404, path)
      t.match(await answer.json(), { error: { code: 'THREADLINE_NOT_FOUND' } })
    }
    t.match(await post(worker, '/v1/dev/tokens', undefined, { user_id: 'alice' }), { status: 404 })
    t.match(await openAt(t, worker, undefined), { status: 404 })
    for (const gateway of [one, other]) t.match(await (await fetch(`${gateway.url}/health/ready`)).json(), { status: 'ok' })
  })

  t.test('a ticket of one gateway lets in at another, once', async (t) => {
    const { body: { ticket = '' } } = await post(one, '/v1/tickets', await tokenOf('tina', other), {})
    const redeem = async (node: SingleNode) => await openAt(t, node, undefined, { ticket })

    const opened = await redeem(other)
    const again = [await redeem(one), await redeem(other)]

    t.ok(opened instanceof TestSocket)
    if (opened instanceof TestSocket) {
      t.match(await opened.until('connection_established'), { user_id: 'tina' })
      await opened.close()
    }
    t.match(again, [{ status: 401 }, { status: 401 }])
  })

  t.test('tabs on two gateways are told the same of runs that a worker executes, and who comes back to the other one misses nothing', async (t) => {
    const first = await connect(one, 'tom')
    const thread = await threadOf(first)
    const [here, there] = [await connect(one, 'tom', { thread_id: thread }), await connect(other, 'tom', { thread_id: thread })]
    const chats = ['one', 'two', 'three']

    await here.chat('zero')
    const leaver = await connect(one, 'tom', { thread_id: thread })
    const { sequence: after, epoch } = (await leaver.until('connection_established')).payload
    await leaver.close()
    for (const [index, content] of chats.entries()) await (index % 2 === 0 ? here : there).chat(content)
    const returned = await connect(other, 'tom', { thread_id: thread, after: String(after), epoch })
    const resumed = await returned.until('resumed')
    await within('both to have been told all', (async () => { while (there.runEvents.length < here.runEvents.length) await turn() })())

    const story = (socket: TestSocket) => socket.runEvents.map(({ sequence, type, run_id: runId, payload }) => ({ sequence, type, runId, payload }))
    t.same(story(there), story(here))
    t.same(here.runEvents.map(({ sequence }) => sequence), here.runEvents.map((_event, index) => index + 1))
    t.same(story(returned), story(here).filter(({ sequence = 0 }) => sequence > after))
    t.equal(resumed.payload.replayed, here.runEvents.length - after)
    t.same(returned.ofType('presence').at(-1)?.payload.connections, 3)
    await Promise.all([first, here, there, returned].map(async (socket) => { await socket.close() }))
  })

  t.test('who types, what becomes of threads, and a goodbye are told on every gateway, to that user alone', async (t) => {
    const [actor, far, stranger] = [await connect(one, 'uma'), await connect(other, 'uma'), await connect(other, 'vera')]
    const thread = await threadOf(actor)
    t.match(await far.until('thread_created'), { payload: { thread_id: thread } })
    const [typist, reader] = [await connect(one, 'uma', { thread_id: thread }), await connect(other, 'uma', { thread_id: thread })]

    await typist.ask({ type: 'typing', payload: {} })
    t.match(await reader.until('typing'), { thread_id: thread, payload: { is_typing: true } })
    await actor.ask({ type: 'delete_thread', payload: { thread_id: thread } })
    t.match(await far.until('thread_deleted'), { payload: { thread_id: thread } })
    const erased = await fetch(`${one.url}/v1/me`, { method: 'DELETE', headers: { authorization: `Bearer ${await tokenOf('uma', one)}` } })
    const closes = await Promise.all([actor, far, typist, reader].map((socket) => within('it to be closed', socket.closed)))
    await stranger.settled()

    t.equal(erased.status, 200)
    t.same(closes.map(({ code }) => code), [4401, 4401, 4401, 4401])
    t.same(stranger.events.map(({ type }) => type), ['connection_established', 'pong'])
    await stranger.close()
  })

  t.test('a title that a worker gives is told on every gateway', async (t) => {
    const [here, there] = [await connect(one, 'tilda'), await connect(other, 'tilda')]

    const created = await here.ask({ type: 'user_message', payload: { content: 'Where do herons sleep?' } })
    const titled = await Promise.all([here, there].map((socket) => within('the title', socket.until('thread_updated'))))

    for (const { user_id: user, payload } of titled) t.match({ user, payload }, { user: 'tilda', payload: { thread_id: created.thread_id, title: /./ } })
    await Promise.all([here, there].map(async (socket) => { await socket.close() }))
  })

  t.test('a run that is stopped on one gateway ends on the other', async (t) => {
    const first = await connect(one, 'wim')
    const thread = await threadOf(first)
    const [here, there] = [await connect(one, 'wim', { thread_id: thread }), await connect(other, 'wim', { thread_id: thread })]
    const accepted = await here.ask({ type: 'user_message', payload: { content: 'held', agent: 'gated' } })
    await gated.arrived.next((content) => content === 'held')

    await there.ask({ type: 'stop_agent', payload: {} })
    const ended = await Promise.all([here, there].map((socket) => within('it to end', socket.until('agent_completed', ({ run_id: runId }) => runId === accepted.run_id))))

    t.same(ended.map(({ payload: { status } }) => status), ['cancelled', 'cancelled'])
    await Promise.all([first, here, there].map(async (socket) => { await socket.close() }))
  })

  // kill: `sharedLimits` out of plugins/gateway.ts.
  t.test('messages of a user are counted over both gateways, and nobody else is held up', async (t) => {
    const [here, there, neighbour] = [await connect(one, 'xena'), await connect(other, 'xena'), await connect(other, 'yuri')]
    const ping = async (socket: TestSocket): Promise<string> => (await socket.ask({ type: 'ping', payload: {} })).type
    const answers: string[] = []

    for (let round = 0; round < 25; round += 1) answers.push(await ping(here), await ping(there))
    const unhindered = await ping(neighbour)

    t.same(answers.filter((type) => type === 'pong').length, 30)
    t.same(new Set(answers.slice(30)), new Set(['error']))
    t.match(there.ofType('error').at(-1), { payload: { code: 'THREADLINE_RATE_LIMITED', retryable: true } })
    t.equal(unhindered, 'pong')
    await Promise.all([here, there, neighbour].map(async (socket) => { await socket.close() }))
  })

  t.test('connections of a user are counted over both gateways', async (t) => {
    const sockets = [await connect(one, 'zoe'), await connect(other, 'zoe'), await connect(one, 'zoe'), await connect(other, 'zoe')]

    const refused = await within('a refusal', (async () => {
      for (;;) {
        const opened = await openAt(t, one, await tokenOf('zoe', one))
        if (!(opened instanceof TestSocket)) return opened
        await opened.close()
      }
    })())

    t.match(refused, { status: 429, body: { error: { code: 'THREADLINE_CONNECTION_LIMIT' } } })
    await Promise.all(sockets.map(async (socket) => { await socket.close() }))
  })

  t.test('canaries of gateways are answered by workers, and find nothing', async (t) => {
    while (canary.rounds.length < 2) await within('both rounds', canary.next())

    t.same(canary.rounds, [{ outcome: 'ok', crossings: 0 }, { outcome: 'ok', crossings: 0 }])
    t.same(canary.crossings, [])
  })

  t.test('when everybody has left, nothing is subscribed, and nothing had to be refused', async (t) => {
    const left = () => [one, other].map(({ app: { bus, gateway: { load } } }) => ({ subscribed: bus.subscribed, ...load, windows: 0 }))
    const isQuiet = (): boolean => left().every((load) => Object.values(load).every((count) => count === 0))

    await within(() => `nothing to be left of ${JSON.stringify(left())}`, (async () => { while (!isQuiet()) await turn() })())
    t.same(violations, [])
  })
}

