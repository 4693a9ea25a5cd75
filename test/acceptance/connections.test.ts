import { once } from 'node:events'
import type { ReadableSpan } from '@opentelemetry/sdk-trace'
import t from 'tap'
import { WebSocket } from 'ws'
import { connectThreadline } from '../../client/connect.ts'
import type { ClientStatus } from '../../client/threadline-client.ts'
import { attributes } from '../../lib/context/attributes.ts'
import type { Hop } from '../../lib/context/hop.ts'
import type { ConnectionRegistry } from '../../lib/gateway/connection-registry.ts'
import type { ServerEvent } from '../../lib/protocol/events.ts'
import { newConnectionId, newThreadId, toConnectionId, toThreadId, toUserId, type ConnectionId, type ThreadId, type UserId } from '../../lib/protocol/ids.ts'
import type { RunStore } from '../../lib/stores/run-store.ts'
import type { ThreadStore } from '../../lib/stores/thread-store.ts'
import { actingAs } from '../support/acting-as.ts'
import { createArrivals } from '../support/arrivals.ts'
import { checkEvent } from '../support/conformance-record.ts'
import { fewerNodes } from '../support/fewer-nodes.ts'
import { hostileThreadIds } from '../support/hostile-ids.ts'
import { startGateway } from '../support/start-gateway.ts'
import { startServer } from '../support/start-server.ts'
import type { TestSocket } from '../support/test-socket.ts'

// Section A: which connection is in which thread. The registry is the one of the running server, and its connections are real sockets;
// whatever is shorter than in production is so to see housekeeping happen.

const server = await startServer(t, {
  only: fewerNodes.registry,
  env: { HEARTBEAT_INTERVAL_MS: 100, HEARTBEAT_TIMEOUT_MS: 60_000, MESSAGE_WINDOW_MS: 1 }
})
const { gateway } = server.app
const { registry } = gateway

t.test('A11 connecting and disconnecting again and again leaves nothing behind', async (t) => {
  const cycles = 10
  const thread = await threadOf('alice')
  const token = await server.token('alice')
  const witness = await server.connect('witness')
  const witnessEnd = newestEnd()
  await housekeeping(witness)
  const before = leftovers()

  for (let cycle = 0; cycle < cycles; cycle++) {
    const socket = new WebSocket(`${server.url.replace('http', 'ws')}/v1/socket?thread_id=${thread}`, { headers: { authorization: `Bearer ${token}` } })
    socket.on('message', (data: Buffer) => { checkEvent(JSON.parse(data.toString())) })
    await once(socket, 'message')
    const gone = Promise.all(ends().filter((end) => end !== witnessEnd).map((end) => once(end, 'close')))
    for (let sent = 0; sent < 5; sent++) socket.send(JSON.stringify({ type: 'switch_thread', payload: { thread_id: thread } }))
    if (cycle % 2 === 0) socket.close()
    else socket.terminate()
    await gone
  }
  await housekeeping(witness)

  t.strictSame(before.live, { connections: 1, users: 1, followedThreads: 0, windows: 0, topics: server.app.node.hasPeers ? 1 : 0, sockets: 1, sessions: 0, runs: 0, slotsTaken: 0, waiting: 0 })
  t.strictSame(leftovers().live, before.live)
  t.ok(leftovers().timers - before.timers < cycles / 2, 'and no token is watched any more')
})

t.test('A1 the info of a connection reports its user, thread and that it is active', async (t) => {
  const thread = await threadOf('alice')
  const socket = await server.connect('alice', { thread })
  const connectionId = idOf(socket)

  const info = actingAs('alice', () => registry.getConnectionInfo(connectionId))

  t.match(info, { connectionId, userId: 'alice', threadId: thread, active: true, connectedAt: /^\d{4}-\d\d-\d\dT.*Z$/ })
  t.equal(actingAs('alice', () => registry.getConnectionThreadId(connectionId)), thread)
})

// Kill: let `#own` of the registry search the connections of all users.
t.test('A1 A8 another user finds neither the info of a connection nor its thread', async (t) => {
  const thread = await threadOf('alice')
  const connectionId = idOf(await server.connect('alice', { thread }))

  const seen = actingAs('bob', () => ({
    info: registry.getConnectionInfo(connectionId),
    thread: registry.getConnectionThreadId(connectionId),
    inThread: registry.getUserConnectionsByThread(thread).size,
    updated: registry.updateConnectionThread(connectionId, newThreadId()),
    disconnected: registry.disconnect(connectionId)
  }))

  t.strictSame(seen, { info: undefined, thread: undefined, inThread: 0, updated: false, disconnected: false })
  t.match(actingAs('alice', () => registry.getConnectionInfo(connectionId)), { threadId: thread, active: true })
})

t.test('A2 a connection id that the caller supplies is the one that is returned, told and usable', async (t) => {
  const thread = await threadOf('alice')
  const { gateway, connect } = await startGateway(t, server)

  const socket = await connect('alice', { connectionId: 'tab:1', thread })
  const established = await socket.until('connection_established')

  t.equal(established.payload.connection_id, 'tab:1')
  const usable = actingAs('alice', () => ({
    info: gateway.registry.getConnectionInfo(toConnectionId('tab:1')),
    updated: gateway.registry.updateConnectionThread(toConnectionId('tab:1'), undefined)
  }))
  t.match(usable, { info: { connectionId: 'tab:1', threadId: thread, active: true }, updated: true })

  const [connection] = actingAs('alice', () => [...gateway.registry.getUserConnections()])
  t.equal(actingAs('alice', () => gateway.registry.disconnect(toConnectionId('tab:1'))), true)
  const again = actingAs('alice', () => gateway.registry.connect({ userId: toUserId('alice'), connectionId: toConnectionId('tab:1') }, () => connection ?? neverOpened()))
  t.equal(again, 'tab:1')
})

t.test('A2 a connection id that is taken is refused, and its connection stays', async (t) => {
  const socket = await server.connect('alice')
  const connectionId = idOf(socket)
  const connectAgain = () => registry.connect({ userId: toUserId('alice'), connectionId }, neverOpened)

  t.throws(() => actingAs('alice', connectAgain), { code: 'THREADLINE_INVALID_CONTEXT', field: 'connection_id' })

  t.match(await socket.settled(), [{ type: 'connection_established' }, { type: 'pong' }])
  t.match(actingAs('alice', () => registry.getConnectionInfo(connectionId)), { active: true })
})

t.test('A3 an empty user id or connection id is refused, and nothing is registered', async (t) => {
  const socket = await server.connect('alice')
  const before = gateway.load
  const end = newestEnd()
  const empty = '' as UserId & ConnectionId // what a caller without types could give
  const alice = toUserId('alice')

  for (const [field, refused] of Object.entries({
    user_id: { userId: empty, connectionId: newConnectionId() },
    connection_id: { userId: alice, connectionId: empty }
  })) {
    const error = { code: 'THREADLINE_INVALID_CONTEXT', field }
    t.throws(() => actingAs('alice', () => registry.connect(refused, neverOpened)), error)
    t.throws(() => gateway.accept(end, { userId: refused.userId, expiresAt: null }, { connectionId: refused.connectionId }), error)
  }

  t.strictSame(gateway.load, before)
  t.match(await socket.ask({ type: 'ping', payload: {} }), { type: 'pong' })
})

// Kill: let `#audienceOf` of lib/gateway/announcements.ts ask for the connections of a thread.
t.test('A4 a connection without thread says so, and what is told to its user arrives', async (t) => {
  const socket = await server.connect('erin')
  const stranger = await server.connect('frank')
  const otherTab = await server.connect('erin')

  const created = await otherTab.ask({ type: 'create_thread', payload: { title: 'Made elsewhere' } })
  const told = await socket.until('thread_created')

  t.match(socket.ofType('connection_established'), [{ thread_id: null, payload: { thread_id: null } }])
  t.equal(actingAs('erin', () => registry.getConnectionThreadId(idOf(socket))), undefined)
  t.match(actingAs('erin', () => registry.getConnectionInfo(idOf(socket))), { threadId: undefined, active: true })
  t.match(told, { user_id: 'erin', thread_id: null, payload: created.payload })
  t.strictSame(typesOf(await stranger.settled()), ['connection_established', 'pong'])
})

t.test('A5 a connection without thread can be put into one later', async (t) => {
  const thread = await threadOf('alice')
  const socket = await server.connect('alice')
  const direct = idOf(await server.connect('alice'))

  const switched = await socket.ask({ type: 'switch_thread', payload: { thread_id: thread } })
  const updated = actingAs('alice', () => registry.updateConnectionThread(direct, thread))

  t.match(switched, { type: 'thread_switched', thread_id: thread })
  t.equal(updated, true)
  t.same(actingAs('alice', () => [idOf(socket), direct].map((id) => registry.getConnectionThreadId(id))), [thread, thread])
  t.match(await socket.ask({ type: 'get_thread_history', payload: {} }), { type: 'thread_history', thread_id: thread })
})

t.test('A6 updating the thread of an unknown connection says no, and registers nothing', async (t) => {
  const thread = await threadOf('alice')
  const before = gateway.load
  const unknown = newConnectionId()

  const updated = actingAs('alice', () => registry.updateConnectionThread(unknown, thread))

  t.equal(updated, false)
  t.strictSame(gateway.load, before)
  t.equal(actingAs('alice', () => registry.getConnectionInfo(unknown)), undefined)
  t.equal(actingAs('alice', () => registry.getUserConnectionsByThread(thread).size), 0)
})

t.test('A7 an invalid thread id is not taken, and the connection stays in its thread', async (t) => {
  const thread = await threadOf('alice')
  const socket = await server.connect('alice', { thread })

  const updates = Object.entries(hostileThreadIds).map(([name, threadId]) =>
    [name, actingAs('alice', () => registry.updateConnectionThread(idOf(socket), threadId as ThreadId))]) // what a caller without types could give

  t.ok(updates.length > 0)
  t.strictSame(updates.filter(([, updated]) => updated !== false), [])
  t.equal(actingAs('alice', () => registry.getConnectionThreadId(idOf(socket))), thread)
  t.match(await socket.ask({ type: 'get_thread_history', payload: {} }), { type: 'thread_history', thread_id: thread })
})

// Kill: leave the comparison with `threadId` out of `getUserConnectionsByThread`.
t.test('A8 a user\'s connections of a thread are exactly those that are in it', async (t) => {
  const [first, second, foreign] = await Promise.all([threadOf('grace'), threadOf('grace'), threadOf('heidi')])
  const [inFirst, inSecond] = await Promise.all([server.connect('grace', { thread: first }), server.connect('grace', { thread: second })])
  const inForeign = await server.connect('heidi', { thread: foreign })

  t.strictSame(connectionsIn('grace', first), [idOf(inFirst)])
  t.strictSame(connectionsIn('grace', second), [idOf(inSecond)])
  t.strictSame(connectionsIn('heidi', foreign), [idOf(inForeign)])
  t.strictSame(connectionsIn('heidi', first), [])
  t.strictSame(connectionsIn('grace', foreign), [])
})

t.test('A9 a connection that went through four threads is found in the last one only', async (t) => {
  const threads = await Promise.all(Array.from({ length: 4 }, () => threadOf('ivan')))
  const socket = await server.connect('ivan')
  const followed = gateway.load.followedThreads

  for (const thread of threads) {
    t.match(await socket.ask({ type: 'switch_thread', payload: { thread_id: thread } }), { type: 'thread_switched', thread_id: thread })
  }

  t.strictSame(threads.map((thread) => connectionsIn('ivan', thread)), [[], [], [], [idOf(socket)]])
  t.equal(gateway.load.followedThreads, followed + 1, 'events of the earlier ones are not followed any more')
})

t.test('A10 a connection that is gone cannot be put into a thread, and the next one can', async (t) => {
  const thread = await threadOf('judy')
  const socket = await server.connect('judy')
  const sibling = await server.connect('judy', { thread })
  await socket.ask({ type: 'switch_thread', payload: { thread_id: thread } })
  const presence = sibling.until('presence', ({ payload }) => payload.connections === 1, sibling.events.length)

  socket.drop()
  await presence

  t.equal(actingAs('judy', () => registry.updateConnectionThread(idOf(socket), thread)), false)
  t.equal(actingAs('judy', () => registry.getConnectionInfo(idOf(socket))), undefined)
  t.strictSame(connectionsIn('judy', thread), [idOf(sibling)])
  const next = await server.connect('judy', { thread })
  t.not(idOf(next), idOf(socket))
  t.equal(actingAs('judy', () => registry.getConnectionThreadId(idOf(next))), thread)
})

t.test('A12 removing a connection twice does nothing the second time, and its siblings remain', async (t) => {
  const thread = await threadOf('kim')
  const sibling = await server.connect('kim', { thread })
  const socket = await server.connect('kim', { thread })
  const gone = once(newestEnd(), 'close')
  const before = gateway.load.connections

  const removed = actingAs('kim', () => [registry.disconnect(idOf(socket)), registry.disconnect(idOf(socket))])
  socket.drop()
  await gone

  t.strictSame(removed, [true, false])
  t.equal(gateway.load.connections, before - 1)
  t.strictSame(connectionsIn('kim', thread), [idOf(sibling)])
  t.match(await sibling.chat('still here?'), { thread_id: thread, payload: { status: 'completed' } })
})

t.test('A13 changing a set of connections that was handed out changes nothing in the registry', async (t) => {
  const thread = await threadOf('leo')
  const sockets = [await server.connect('leo', { thread }), await server.connect('leo', { thread })]
  const asked = () => actingAs('leo', () => [registry.getUserConnections(), registry.getUserConnectionsByThread(thread)])

  for (const handedOut of asked()) handedOut.clear()

  for (const set of asked()) {
    t.strictSame([...set].map(({ connectionId }) => connectionId), sockets.map(idOf))
  }
  t.match(await sockets[0]?.chat('hello'), { payload: { status: 'completed' } })
})

// Kill: leave the two guards out of `connect` of the registry, one after the other.
t.test('A14 in the name of one user no connection of another can be registered', async (t) => {
  const socket = await server.connect('mallory')
  const [foreign] = actingAs('mallory', () => [...registry.getUserConnections()])
  const before = { load: gateway.load, violations: server.violations.length }
  const [alice, mallory] = [toUserId('alice'), toUserId('mallory')]

  const named = () => registry.connect({ userId: mallory }, neverOpened)
  const smuggled = () => registry.connect({ userId: alice }, () => foreign ?? neverOpened())

  t.throws(() => actingAs('alice', named), { code: 'THREADLINE_CONTEXT_MISMATCH' })
  t.throws(() => actingAs('alice', smuggled), { code: 'THREADLINE_CONTEXT_MISMATCH' })
  t.match(server.violations.slice(before.violations), [{ place: 'connection-registry', kind: 'crossed' }, { place: 'connection-registry', kind: 'crossed' }])
  t.strictSame(gateway.load, before.load)
  t.strictSame(actingAs('mallory', () => [...registry.getUserConnections()].map(({ connectionId }) => connectionId)), [idOf(socket)])
})

t.test('A14 without an identity the registry answers nobody', async (t) => {
  const connectionId = idOf(await server.connect('alice'))
  const noContext = { code: 'THREADLINE_NO_CONTEXT' }

  for (const ask of ['getConnectionInfo', 'getConnectionThreadId', 'disconnect'] satisfies (keyof ConnectionRegistry)[]) {
    t.throws(() => registry[ask](connectionId), noContext, ask)
  }
  t.throws(() => registry.getUserConnectionsByThread(newThreadId()), noContext)
  t.throws(() => registry.updateConnectionThread(connectionId, newThreadId()), noContext)
})

t.test('A15 a client that was cut off comes back in the thread that it was in', async (t) => {
  const [first, last] = [await threadOf('nina'), await threadOf('nina')]
  const statuses = createArrivals<ClientStatus>()
  const ready = () => statuses.next((status) => status.state === 'ready')
  const client = connectThreadline({
    url: server.url,
    WebSocket,
    threadId: first,
    token: await server.token('nina'),
    reconnect: { baseMs: 1 },
    onEvent: checkEvent,
    onStatus: (status) => { statuses.push(status) }
  })
  t.teardown(() => client.close())
  await ready()
  await client.send({ type: 'switch_thread', payload: { thread_id: last } })
  const { connectionId } = client

  for (const connection of actingAs('nina', () => registry.getUserConnections())) connection.terminate()
  const status = await ready()

  t.match(status, { reconnected: true, threadId: last })
  t.not(client.connectionId, connectionId)
  t.strictSame(connectionsIn('nina', last), [client.connectionId])
  t.strictSame(connectionsIn('nina', first), [])
  t.match(await client.send({ type: 'user_message', payload: { content: 'where am I?' } }), { type: 'message_accepted', thread_id: last })
})

// Kill: in `enter` of lib/gateway/thread-membership.ts, leave the thread only if it is not the one that the connection was in.
t.test('a thread is not followed for a connection that was gone before it had switched', async (t) => {
  const thread = await threadOf('olga')
  const { storage } = server.app
  const gone = Promise.withResolvers<void>()
  const threads: ThreadStore = { ...storage.threads, require: async (threadId) => await afterwards(storage.threads.require(threadId), gone.promise) }
  const { gateway, connect, newest } = await startGateway(t, server, { tools: { storage: { ...storage, threads } } })
  const socket = await connect('olga', { thread })
  await socket.until('connection_established')

  socket.send({ type: 'switch_thread', payload: { thread_id: thread } })
  newest().once('close', () => { gone.resolve() })
  socket.drop()
  await hopOf('handler', 'olga')

  t.match(gateway.load, { connections: 0, users: 0, followedThreads: 0 })
})

// Kill: let `enter` throw when the connection is gone.
t.test('a message that is accepted when its socket is gone is run all the same', async (t) => {
  const { storage } = server.app
  const gone = Promise.withResolvers<void>()
  const runs: RunStore = { ...storage.runs, accept: async (message) => await afterwards(storage.runs.accept(message), gone.promise) }
  const { gateway, connect, newest } = await startGateway(t, server, { tools: { storage: { ...storage, runs } } })
  const socket = await connect('peggy')
  await socket.until('connection_established')

  socket.send({ type: 'user_message', payload: { content: 'hello and goodbye' } })
  newest().once('close', () => { gone.resolve() })
  socket.drop()
  const engine = await hopOf('engine', 'peggy')

  const thread = toThreadId(engine.attributes[attributes.threadId])
  t.match(await actingAs('peggy', () => storage.messages.history(thread, { limit: 10 })), { messages: [{ role: 'user', content: 'hello and goodbye' }] })
  t.match(gateway.load, { connections: 0, users: 0, followedThreads: 0 })
})

async function afterwards<T> (work: Promise<T>, then: Promise<void>): Promise<T> {
  const result = await work
  await then
  return result
}

async function hopOf (hop: Hop, user: string): Promise<ReadableSpan> {
  return await server.spans.until((spans) => spans.find((span) => span.attributes[attributes.hop] === hop && span.attributes[attributes.userId] === user))
}

function idOf (socket: TestSocket): ConnectionId {
  return toConnectionId(socket.ofType('connection_established')[0]?.payload.connection_id)
}

function connectionsIn (user: string, thread: ThreadId): readonly ConnectionId[] {
  return actingAs(user, () => [...registry.getUserConnectionsByThread(thread)].map(({ connectionId }) => connectionId))
}

function typesOf (events: readonly ServerEvent[]): readonly string[] {
  return events.map(({ type }) => type)
}

/** The server's ends of the sockets, oldest first. */
function ends (): readonly WebSocket[] {
  return [...server.app.websocketServer.clients]
}

function newestEnd (): WebSocket {
  const end = ends().at(-1)
  if (end === undefined) throw new Error('Nobody is connected')
  return end
}

/** One whole round of the heartbeat, which also forgets the windows of users who have been silent. */
async function housekeeping (witness: TestSocket): Promise<void> {
  for (let round = 0; round < 2; round++) await once(witness.raw, 'ping')
}

function leftovers () {
  return {
    live: { ...gateway.load, ...server.app.engine.load, sockets: ends().length },
    timers: process.getActiveResourcesInfo().filter((resource) => resource === 'Timeout').length
  }
}

function neverOpened (): never {
  throw new Error('A connection was opened')
}

/** A thread of the user, made without a socket that might still be closing. */
async function threadOf (user: string): Promise<ThreadId> {
  const threadId = newThreadId()
  await actingAs(user, () => server.app.storage.threads.create(threadId))
  return threadId
}
