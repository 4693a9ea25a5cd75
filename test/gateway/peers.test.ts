import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { EventBus } from '../../lib/events/event-bus.ts'
import { createInProcessHub } from '../../lib/events/in-process-bus.ts'
import type { GatewayLimits } from '../../lib/gateway/gateway.ts'
import type { Outbox } from '../../lib/gateway/outbox.ts'
import type { ServerEvent } from '../../lib/protocol/events.ts'
import { toThreadId, toUserId, type ThreadId } from '../../lib/protocol/ids.ts'
import type { LimitStore } from '../../lib/stores/limit-store.ts'
import { actingAs } from '../support/acting-as.ts'
import { startGateway, type OwnGateway } from '../support/start-gateway.ts'
import { startServer } from '../support/start-server.ts'
import type { TestSocket } from '../support/test-socket.ts'
import { within } from '../support/within.ts'

// Gateways of several nodes over one storage, with a bus between them, and real sockets on each. What they tell each other besides the log.

const server = await startServer(t, { env: { DEFAULT_AGENT: 'echo' } })

interface Node extends OwnGateway { readonly bus: EventBus }

type Joining = { readonly thread?: string }

async function startNodes (t: Test, names: readonly string[], limits: Partial<GatewayLimits> = {}) {
  const hub = createInProcessHub()
  const nodes: Record<string, Node> = {}
  for (const name of names) {
    const bus = hub.node(name)
    nodes[name] = { ...await startGateway(t, server, { bus, limits: { heartbeatIntervalMs: 60_000, ...limits } }), bus }
    t.teardown(async () => { await bus.close() })
  }
  const at = (name: string): Node => {
    const node = nodes[name]
    if (node === undefined) throw new Error(`No node ${name}`)
    return node
  }
  const connect = async (name: string, user: string, joining: Joining = {}): Promise<TestSocket> => {
    const socket = await at(name).connect(user, joining)
    await socket.until('connection_established')
    return socket
  }
  return { hub, at, connect }
}

const presenceOf = (socket: TestSocket): number | undefined => socket.ofType('presence').at(-1)?.payload.connections

async function untilPresence (socket: TestSocket, connections: number): Promise<void> {
  await within(() => `${connections} to be present, and not ${presenceOf(socket)}`, (async () => { while (presenceOf(socket) !== connections) await turn() })(), 5_000)
}

t.test('who types is seen by the user\'s other connections in that thread on every node, and not by the own one', async (t) => {
  const { connect } = await startNodes(t, ['a', 'b'])
  const [thread, other] = [await server.thread('alice'), await server.thread('alice')]
  const bobs = await server.thread('bob')
  const [typist, neighbour] = [await connect('a', 'alice', { thread }), await connect('a', 'alice', { thread })]
  const [far, elsewhere, stranger] = [await connect('b', 'alice', { thread }), await connect('b', 'alice', { thread: other }), await connect('b', 'bob', { thread: bobs })]

  await typist.ask({ type: 'typing', payload: {} })
  const [near, distant] = [await neighbour.until('typing'), await far.until('typing')]
  await Promise.all([typist, elsewhere, stranger].map(async (socket) => { await socket.settled() }))

  t.same(distant, near)
  t.match(distant, { user_id: 'alice', thread_id: thread, payload: { is_typing: true, thread_id: thread } })
  t.match(typist.ofType('typing'), [{ reply_to: String }], 'it is answered, and not told')
  t.equal(typist.ofType('typing').length, 1)
  t.same([...elsewhere.ofType('typing'), ...stranger.ofType('typing')], [])
})

t.test('threads that are made, changed and deleted on one node are told on the others, and whoever was in a deleted one is in none', async (t) => {
  const { connect, at } = await startNodes(t, ['a', 'b'])
  const thread = await server.thread('carol')
  const [actor, inside, stranger] = [await connect('a', 'carol'), await connect('b', 'carol', { thread }), await connect('b', 'dave')]
  const isOf = (event: ServerEvent): boolean => (event.payload as { thread_id?: string }).thread_id === thread

  const created = await actor.ask({ type: 'create_thread', payload: { title: 'new' } }) as ServerEvent<'thread_created'>
  const told = await inside.until('thread_created', ({ payload }) => payload.title === 'new')
  await actor.ask({ type: 'rename_thread', payload: { thread_id: thread, title: 'changed' } })
  const updated = await inside.until('thread_updated', isOf)
  await actor.ask({ type: 'delete_thread', payload: { thread_id: thread } })
  const deleted = await inside.until('thread_deleted', isOf)
  const refused = await inside.ask({ type: 'typing', payload: {} })
  await stranger.settled()

  t.same(told.payload, created.payload)
  t.equal(told.thread_id, null)
  t.match(updated, { user_id: 'carol', payload: { title: 'changed' } })
  t.match(deleted, { user_id: 'carol', thread_id: null })
  t.match(refused, { type: 'error', payload: { code: 'THREADLINE_THREAD_REQUIRED' } })
  t.same(stranger.events.map(({ type }) => type).filter((type) => type.startsWith('thread_')), [])
  t.equal(at('b').gateway.load.followedThreads, 0)
})

t.test('a branch that is selected on one node is read and told by the others, in the name of the thread\'s owner', async (t) => {
  const { connect } = await startNodes(t, ['a', 'b'])
  const thread = await server.thread('erin')
  const [actor, far] = [await connect('a', 'erin', { thread }), await connect('b', 'erin', { thread })]
  const first = await actor.ask({ type: 'user_message', payload: { content: 'first' } }) as ServerEvent<'message_accepted'>
  await actor.until('agent_completed', ({ run_id: run }) => run === first.payload.run_id)
  const edit = await actor.ask({ type: 'user_message', payload: { content: 'second', edit_of: first.payload.message_id } }) as ServerEvent<'message_accepted'>
  await actor.until('agent_completed', ({ run_id: run }) => run === edit.payload.run_id)
  const from = far.events.length

  await actor.ask({ type: 'select_branch', payload: { message_id: first.payload.message_id } })
  const told = await far.until('branch_selected', () => true, from)

  t.match(told, { user_id: 'erin', thread_id: thread, payload: { messages: [{ content: 'first', thread_id: thread }, { role: 'assistant' }], has_more: false } })
})

t.test('whoever is erased is shown out of every node, and nobody else is', async (t) => {
  const { connect, at } = await startNodes(t, ['a', 'b', 'c'])
  const thread = await server.thread('frank')
  const sockets = [await connect('a', 'frank'), await connect('b', 'frank', { thread }), await connect('c', 'frank')]
  const stranger = await connect('b', 'grace')

  await actingAs('frank', () => at('a').gateway.eraseUser())
  const closes = await Promise.all(sockets.map((socket) => within('it to be closed', socket.closed, 5_000)))
  await stranger.settled()

  t.same(closes.map(({ code }) => code), [4401, 4401, 4401])
  for (const socket of sockets) t.match(socket.events.at(-1), { type: 'error', user_id: 'frank', thread_id: null, payload: { code: 'THREADLINE_UNAUTHENTICATED' } })
  t.same(stranger.ofType('error'), [])
})

// kill: `#tellHere` of lib/gateway/presence.ts leaves out what is elsewhere.
t.test('presence is the sum over all nodes, and is told again when any of them has another number', async (t) => {
  const { connect, at } = await startNodes(t, ['a', 'b', 'c'])
  const thread = await server.thread('heidi')
  const first = await connect('a', 'heidi', { thread })
  await untilPresence(first, 1)

  const second = await connect('b', 'heidi', { thread })
  await Promise.all([first, second].map(async (socket) => { await untilPresence(socket, 2) }))
  const third = await connect('c', 'heidi', { thread })
  await connect('c', 'heidi')
  await Promise.all([first, second, third].map(async (socket) => { await untilPresence(socket, 3) }))
  t.equal(actingAs('heidi', () => at('a').gateway.elsewhereIn(thread)), 2)
  await third.close()
  await Promise.all([first, second].map(async (socket) => { await untilPresence(socket, 2) }))
  await at('b').gateway.drain()
  await untilPresence(first, 1)

  t.ok(first.ofType('presence').every(({ user_id: user, thread_id: at }) => user === 'heidi' && at === thread))
})

// kill: `#expire` of lib/gateway/peer-counts.ts does nothing.
t.test('connections of a node that is not heard of any more count for a while only, and count again when it comes back', async (t) => {
  const { hub, connect } = await startNodes(t, ['a', 'b'], { heartbeatIntervalMs: 40, heartbeatTimeoutMs: 60_000 })
  const thread = await server.thread('ivan')
  const [first, second] = [await connect('a', 'ivan', { thread }), await connect('b', 'ivan', { thread })]
  await Promise.all([first, second].map(async (socket) => { await untilPresence(socket, 2) }))

  hub.cut('b')
  await Promise.all([first, second].map(async (socket) => { await untilPresence(socket, 1) }))
  hub.mend('b')
  await Promise.all([first, second].map(async (socket) => { await untilPresence(socket, 2) }))
})

t.test('a user\'s connections on other nodes count for the limit, others\' do not', async (t) => {
  const { connect, at } = await startNodes(t, ['a', 'b'], { maxConnectionsPerUser: 3 })
  const admits = (name: string, user: string): boolean => {
    try {
      actingAs(user, () => { at(name).gateway.admit() })
      return true
    } catch { return false } // it is the limit: nothing else is asked
  }
  const sockets = [await connect('a', 'judy'), await connect('a', 'judy'), await connect('b', 'judy')]
  const until = async (name: string, expected: boolean): Promise<void> => {
    await within(`node ${name} to ${expected ? 'admit' : 'refuse'} her`, (async () => { while (admits(name, 'judy') !== expected) await turn() })(), 5_000)
  }

  await until('a', false)
  await until('b', false)
  t.ok(admits('a', 'kim') && admits('b', 'kim'))
  const outbox = { duplex: false, gone: new Promise<void>(() => {}) } as unknown as Outbox // it is refused before anything is written to it
  t.throws(() => at('b').gateway.join(outbox, { userId: toUserId('judy'), expiresAt: null }), { code: 'THREADLINE_CONNECTION_LIMIT' })
  await sockets[0]?.close()
  await until('b', true)
  await until('a', true)
})

t.test('markers of many users on three nodes never cross, and when all have left, nothing is subscribed', async (t) => {
  const nodes = ['a', 'b', 'c']
  const { connect, at } = await startNodes(t, nodes)
  const users = Array.from({ length: 12 }, (_user, index) => `many-${index}`)
  const threads = new Map<string, ThreadId>(await Promise.all(users.map(async (user) => [user, await server.thread(user)] as const)))
  const sockets = await Promise.all(users.flatMap((user) => nodes.map(async (name) => ({ user, socket: await connect(name, user, { thread: threads.get(user) ?? '' }) }))))

  await Promise.all(sockets.map(async ({ user, socket }, index) => {
    await socket.ask({ type: 'create_thread', payload: { title: `${user} ${index}`, metadata: { marker: `<${user}>` } } })
    await socket.ask({ type: 'typing', payload: {} })
    await socket.ask({ type: 'rename_thread', payload: { thread_id: threads.get(user), title: `<${user}>` } })
  }))
  for (const { socket } of sockets) {
    await within('all to be told', (async () => { while (socket.ofType('thread_updated').length < nodes.length || socket.ofType('typing').length < nodes.length) await turn() })())
  }

  for (const { user, socket } of sockets) {
    const others = users.filter((other) => other !== user)
    t.same(socket.events.filter((event) => event.user_id !== user), [])
    t.same(socket.events.map((event) => JSON.stringify(event)).filter((text) => others.some((other) => text.includes(`<${other}>`) || text.includes(`"${other}"`))), [])
    t.equal(socket.ofType('thread_created').length, nodes.length, 'its own answer, and one from each other node')
    t.same(new Set(socket.ofType('typing').map(({ payload }) => toThreadId(payload.thread_id))), new Set([threads.get(user)]))
  }
  await Promise.all(sockets.map(async ({ socket }) => { await socket.close() }))
  const left = (): number => nodes.reduce((sum, name) => sum + at(name).bus.subscribed + at(name).gateway.load.topics + at(name).gateway.load.connections, 0)
  await within(() => `nothing to be left of ${left()}`, (async () => { while (left() > 0) await turn() })(), 5_000)
})

// kill: `guardClaim({ ...event })` out of `inNameOf` in lib/gateway/announcements.ts.
t.test('what a node tells in another user\'s name is not written to anybody', async (t) => {
  const { hub, connect } = await startNodes(t, ['a'])
  const before = server.violations.length
  const thread = await server.thread('victim')
  const victim = await connect('a', 'victim', { thread })
  const rogue = hub.node('rogue')
  const told = victim.events.length
  const event = (user: string, more: object) => ({
    type: 'typing', event_id: crypto.randomUUID(), timestamp: new Date().toISOString(), user_id: user, thread_id: thread, request_id: crypto.randomUUID(),
    payload: { is_typing: true, thread_id: thread }, ...more
  })
  const topics = { user: { kind: 'user', userId: toUserId('victim') }, thread: { kind: 'thread', userId: toUserId('victim'), threadId: thread } } as const
  const say = (kind: 'user' | 'thread', name: string, written: object): void => {
    rogue.publish(topics[kind], { kind: 'message', name, body: { user_id: 'victim', thread_id: kind === 'user' ? null : thread, content: { event: written } } })
  }

  const foreign = [event('mallory', {}), event('victim', { thread_id: crypto.randomUUID().replace(/^(.{14})./, '$17') })]
  for (const written of foreign) {
    say('thread', 'told', written)
    say('user', 'told', written)
    say('user', 'erased', written)
    say('thread', 'branch_selected', { ...written, type: 'branch_selected', payload: { messages: [], has_more: false } })
  }
  say('thread', 'told', event('victim', { sequence: 7, epoch: 'e' }))
  say('thread', 'told', event('victim', { payload: {} }))
  say('thread', 'told', event('victim', { type: 'of_a_newer_version' }))
  say('thread', 'told', event('victim', { payload: { is_typing: false, thread_id: thread } }))
  const [good] = [await victim.until('typing')]
  await victim.settled()

  t.match(good.payload, { is_typing: false })
  t.same(victim.events.slice(told).map(({ type }) => type), ['typing', 'pong'])
  t.equal(server.violations.length - before, foreign.length * 4)
  t.ok(server.violations.slice(before).every(({ place, kind }) => place === 'event-bus' && kind === 'crossed'))
})

// kill: `receiveFrame` of lib/gateway/receive-frame.ts is not waited for in the inbox.
t.test('frames of one connection are handled in their order while they are counted elsewhere, and its limit is that of all nodes', async (t) => {
  const counts = new Map<string, number>()
  const store: LimitStore = {
    async admit (frames) {
      await turn()
      return frames.map(({ userId }) => {
        const count = counts.get(userId) ?? 0
        if (count < 6) counts.set(userId, count + 1)
        return count < 6
      })
    }
  }
  const limits = { messagesPerWindow: 6, messageWindowMs: 60_000 }
  const [a, b] = [await startGateway(t, server, { sharedLimits: { store }, limits }), await startGateway(t, server, { sharedLimits: { store }, limits })]
  const [first, second, other] = [await a.connect('liam'), await b.connect('liam'), await b.connect('mona')]
  const ids = ['1', '2', '3', '4']

  for (const id of ids) first.send({ type: 'ping', id, payload: {} })
  await first.until('pong', ({ reply_to: to }) => to === '4')
  for (const id of ids) second.send({ type: 'ping', id, payload: {} })
  await second.next(({ reply_to: to }) => to === '4')
  const unhindered = await other.ask({ type: 'ping', payload: {} })

  t.same(first.events.flatMap(({ reply_to: to }) => to ?? []), ids)
  t.same(second.events.flatMap(({ type, reply_to: to }) => to === undefined ? [] : [`${to} ${type}`]), ['1 pong', '2 pong', '3 error', '4 error'])
  t.match(second.ofType('error').at(-1), { payload: { code: 'THREADLINE_RATE_LIMITED', retryable: true } })
  t.equal(unhindered.type, 'pong')
})
