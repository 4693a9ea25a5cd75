import { once } from 'node:events'
import t from 'tap'
import { WebSocket } from 'ws'
import { defineAgent } from '../../lib/agents/define-agent.ts'
import { createTickets } from '../../lib/auth/tickets.ts'
import { attributes } from '../../lib/context/attributes.ts'
import { ConnectionLife, type ConnectionState } from '../../lib/gateway/connection-state.ts'
import { MessageWindow } from '../../lib/gateway/message-window.ts'
import { maxContentCharacters } from '../../lib/protocol/commands.ts'
import { newThreadId, toConnectionId, toUserId, type ConnectionId, type ThreadId } from '../../lib/protocol/ids.ts'
import type { RunStore } from '../../lib/stores/run-store.ts'
import type { ThreadState } from '../../lib/stores/thread-store.ts'
import { actingAs } from '../support/acting-as.ts'
import { inSeconds, secretEnvironment, signToken } from '../support/authentication.ts'
import { fewerNodes } from '../support/fewer-nodes.ts'
import { startGateway } from '../support/start-gateway.ts'
import { startServer, type TestServer } from '../support/start-server.ts'
import { openSocket, TestSocket, type Refusal } from '../support/test-socket.ts'

// Section H: who gets in, who stays, and who is shown out. Two servers: one as a newcomer starts it, and one with a shared secret whose
// limits are small enough to be reached.

const maxOutboxBytes = 256 * 1024
const windowMs = 2_000

const quiet = defineAgent({ name: 'quiet', async * run () { yield { type: 'text', text: 'noted' } } })
const server = await startServer(t, { agents: [quiet], env: { DEFAULT_AGENT: 'quiet', MAX_OUTBOX_BYTES: maxOutboxBytes } })
const strict = await startServer(t, {
  only: fewerNodes.connectionLimit,
  env: {
    ...secretEnvironment,
    MAX_CONNECTIONS_PER_USER: 2,
    MESSAGES_PER_WINDOW: 5,
    MESSAGE_WINDOW_MS: windowMs,
    HEARTBEAT_INTERVAL_MS: 100,
    HEARTBEAT_TIMEOUT_MS: 1_500
  }
})

// Kill: leave the header `sec-websocket-protocol` as it came, in plugins/authentication.ts.
t.test('H100 a token as header or as offered subprotocol opens a socket, and is never selected', async (t) => {
  const token = await server.token('alice')

  const byHeader = await open(server, { headers: { authorization: `Bearer ${token}` } })
  const offered = await open(server, { protocols: [`bearer.${token}`, 'threadline.v1', 'other'] })
  const both = await open(server, { headers: { authorization: `Bearer ${token}` }, protocols: ['other', 'threadline.v1'] })

  t.strictSame([byHeader, offered, both].map(({ raw }) => raw.protocol), ['', 'threadline.v1', 'threadline.v1'])
  for (const socket of [byHeader, offered, both]) {
    t.match(await socket.until('connection_established'), { user_id: 'alice', payload: { user_id: 'alice' } })
    await socket.close()
  }
})

// Kill: let `createTokenVerifier` not compare the audience.
t.test('H101 without a good token nobody gets in, and nothing is registered', async (t) => {
  const good = await signToken()
  const tokens = {
    none: undefined,
    malformed: 'not-a-token',
    'with a bad signature': `${good.slice(0, -8)}AAAAAAAA`,
    'signed by somebody else': await signToken({ key: new TextEncoder().encode('another secret of more than 32 bytes') }),
    'for another audience': await signToken({ aud: 'elsewhere' }),
    'of another issuer': await signToken({ iss: 'https://elsewhere.example' }),
    'without a user': await signToken({ sub: undefined }),
    expired: await signToken({ exp: inSeconds(-60) })
  }
  const before = strict.app.gateway.load

  for (const [fault, token] of Object.entries(tokens)) {
    const code = fault === 'expired' ? 'THREADLINE_TOKEN_EXPIRED' : 'THREADLINE_UNAUTHENTICATED'
    const byHeader = await refusal(strict, token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } })
    const offered = await refusal(strict, { protocols: ['threadline.v1', ...token === undefined ? [] : [`bearer.${token}`]] })

    for (const refused of [byHeader, offered]) {
      t.match(refused, { status: 401, body: { error: { code } } }, fault)
      t.ok(isLogged(strict, refused), `${fault}: the log names the request`)
    }
  }
  t.strictSame(strict.app.gateway.load, before)
  t.match(before, { connections: 0, users: 0 })
  t.equal(strict.app.websocketServer.clients.size, 0)
})

t.test('H102 a client that offers only unknown subprotocols is refused', async (t) => {
  const headers = { authorization: `Bearer ${await signToken()}` }

  const refused = await refusal(strict, { headers, protocols: ['graphql-ws', 'threadline.v2'] })

  t.match(refused, { status: 400, body: { error: { code: 'THREADLINE_UNSUPPORTED_SUBPROTOCOL' } } })
  t.match(strict.app.gateway.load, { connections: 0, users: 0 })
})

t.test('H103 a ticket opens one socket, and none once it has expired', async (t) => {
  const response = await fetch(`${server.url}/v1/tickets`, { method: 'POST', headers: { authorization: `Bearer ${await server.token('alice')}` } })
  const { ticket } = await response.json() as { ticket: string } // the route's schema
  const brief = createTickets({ store: server.app.storage.tickets, lifetimeMs: 1 })
  const expired = await actingAs('alice', () => brief.issue(new Date(Date.now() + 60_000)))

  const socket = await open(server, { query: { ticket } })
  const again = await refusal(server, { query: { ticket } })
  const late = await refusal(server, { query: { ticket: expired.ticket } })
  const invented = await refusal(server, { query: { ticket: 'x'.repeat(43) } })

  t.match(await socket.until('connection_established'), { user_id: 'alice' })
  for (const refused of [again, late, invented]) {
    t.match(refused, { status: 401, body: { error: { code: 'THREADLINE_UNAUTHENTICATED' } } })
    t.ok(isLogged(server, refused))
  }
})

t.test('H104 the first word names the thread, which is not the connection, and all later events carry it', async (t) => {
  const thread = await threadOf(server, 'alice')
  const socket = await server.connect('alice', { thread })

  await socket.chat('hello')
  await socket.ask({ type: 'typing', payload: {} })
  const events = await socket.settled()

  t.match(events[0], { type: 'connection_established', thread_id: thread, payload: { thread_id: thread, sequence: 0, epoch: /./ } })
  t.not(idOf(socket), thread)
  t.ok(events.length > 5)
  t.strictSame(new Set(events.map((event) => event.thread_id)), new Set([thread]))
})

t.test('H106 a user at the connection limit is refused with a code of its own until one connection closes', async (t) => {
  const thread = await threadOf(strict, 'bob')
  const first = await connectStrict(t, 'bob', { thread })
  const second = await connectStrict(t, 'bob', { thread })
  const headers = await authorization('bob')

  const refused = await refusal(strict, { headers })
  const other = await connectStrict(t, 'carol')
  const left = first.until('presence', ({ payload }) => payload.connections === 1, first.events.length)
  await second.close()
  await left
  const third = await connectStrict(t, 'bob')

  t.match(refused, { status: 429, body: { error: { code: 'THREADLINE_CONNECTION_LIMIT' } } })
  t.ok(isLogged(strict, refused))
  t.match(await other.ask({ type: 'ping', payload: {} }), { type: 'pong', user_id: 'carol' })
  t.match(await third.ask({ type: 'ping', payload: {} }), { type: 'pong', user_id: 'bob' })
  t.equal(actingAs('bob', () => registryOf(strict).getUserConnections().size), 2)
})

// Kill: let the `errorHandler` of plugins/gateway.ts terminate the socket.
t.test('H106 of many handshakes at once no more get in than the limit allows, and each of the others is told why', async (t) => {
  const query = { thread_id: await threadOf(strict, 'dave') } // checking it gives the others time to ask for room as well
  const headers = await authorization('dave')

  const outcomes = await Promise.all(Array.from({ length: 10 }, async () => {
    const opened = await openSocket(address(strict, query), { headers })
    if (!(opened instanceof TestSocket)) return opened.body.error?.code ?? opened.status
    t.teardown(() => { opened.drop() })
    return await Promise.race([opened.until('connection_established').then(() => 'in', () => 'closed'), opened.closed.then(({ code }) => code)])
      .then(async (outcome) => outcome === 'in' ? outcome : (await opened.closed).code)
  }))

  t.equal(outcomes.filter((outcome) => outcome === 'in').length, 2)
  t.strictSame(outcomes.filter((outcome) => !['in', 'THREADLINE_CONNECTION_LIMIT', 4429].includes(outcome)), [])
  t.equal(actingAs('dave', () => registryOf(strict).getUserConnections().size), 2)
})

t.test('H107 a message beyond the limit is refused, the socket stays, and later ones are taken again', async (t) => {
  const socket = await connectStrict(t, 'erin')
  const other = await connectStrict(t, 'frank')
  const startedAt = performance.now()

  for (let sent = 1; sent <= 6; sent++) socket.send({ type: 'ping', id: `ping-${sent}`, payload: {} })
  const refused = await socket.next((event) => event.reply_to === 'ping-6')
  const answered = socket.ofType('pong').map((event) => event.reply_to)
  const unaffected = await other.ask({ type: 'ping', payload: {} })
  let last = refused
  while (last.type === 'error') last = await socket.ask({ type: 'ping', payload: {} })

  t.match(refused, { type: 'error', payload: { code: 'THREADLINE_RATE_LIMITED', retryable: true } })
  t.strictSame(answered, ['ping-1', 'ping-2', 'ping-3', 'ping-4', 'ping-5'])
  t.match(unaffected, { type: 'pong' })
  t.equal(last.type, 'pong')
  t.ok(performance.now() - startedAt >= windowMs, 'only after the window has passed')
  t.ok(strict.log.some((line) => line['request_id'] === refused.request_id && line['code'] === 'THREADLINE_RATE_LIMITED'))
})

t.test('H107 the window slides: each message makes room when it leaves it, and a refused one takes none', async (t) => {
  let now = 0
  const window = new MessageWindow({ limit: 2, windowMs: 1_000, now: () => now })
  const at = (time: number): boolean => {
    now = time
    return window.admit(toUserId('alice'))
  }

  t.strictSame([0, 600, 700, 999].map(at), [true, true, false, false])
  t.strictSame([1_000, 1_001, 1_599].map(at), [true, false, false])
  t.strictSame([1_600, 1_999].map(at), [true, false])
})

t.test('H108 a forbidden transition says no and changes nothing, and after a failure only another attempt is possible', async (t) => {
  const states: readonly ConnectionState[] = ['connecting', 'open', 'closing', 'closed', 'failed']
  const paths: Record<ConnectionState, readonly ConnectionState[]> = {
    connecting: [], open: ['open'], closing: ['open', 'closing'], closed: ['open', 'closed'], failed: ['failed']
  }
  const allowed: Record<ConnectionState, readonly ConnectionState[]> = {
    connecting: ['open', 'closing', 'closed', 'failed'], open: ['closing', 'closed', 'failed'], closing: ['closed'], closed: [], failed: ['connecting']
  }

  for (const from of states) {
    for (const to of states) {
      const life = new ConnectionLife()
      for (const step of paths[from]) life.move(step)
      const moved = life.move(to)

      t.equal(moved, allowed[from].includes(to), `${from} → ${to}`)
      t.equal(life.state, moved ? to : from)
    }
  }
})

t.test('H110 a ping is answered by a pong', async (t) => {
  const socket = await server.connect('alice')

  const answer = await socket.ask({ type: 'ping', id: 'are-you-there', payload: {} })

  t.match(answer, { type: 'pong', reply_to: 'are-you-there', user_id: 'alice', payload: {} })
})

t.test('H110 a peer that answers no ping of the server is cut off and removed, and one that does stays', async (t) => {
  const living = await connectStrict(t, 'grace')
  const silent = new TestSocket(new WebSocket(address(strict), { headers: await authorization('grace'), autoPong: false }))
  await silent.until('connection_established')
  const end = [...strict.app.websocketServer.clients].at(-1)

  await once(silent.raw, 'ping')
  await Promise.all([silent.closed, end && once(end, 'close')])

  t.match(await silent.closed, { code: 1006 })
  t.equal(actingAs('grace', () => registryOf(strict).getConnectionInfo(idOf(silent))), undefined)
  t.match(await living.ask({ type: 'ping', payload: {} }), { type: 'pong' })
})

// Kill: count pongs as words, in `heard` of lib/gateway/connection.ts.
t.test('a connection that says nothing for too long is closed with 4408, and one that speaks stays', async (t) => {
  const { connect } = await startGateway(t, server, { limits: { heartbeatIntervalMs: 50, heartbeatTimeoutMs: 60_000, idleTimeoutMs: 1_500 } })
  const [idle, talking] = [await connect('xenia'), await connect('xenia')]
  talking.raw.on('ping', () => { talking.send({ type: 'ping', payload: {} }) })

  const closed = await idle.closed

  t.strictSame(closed, { code: 4408, reason: 'idle' })
  t.match(await talking.ask({ type: 'ping', payload: {} }), { type: 'pong' })
})

t.test('H113 after a handler that threw the next message is handled, and the client was told of the first', async (t) => {
  const { storage } = server.app
  const threads = { ...storage.threads, list: async () => { throw new Error('a detail that is nobody\'s business') } }
  const { connect } = await startGateway(t, server, { tools: { storage: { ...storage, threads } } })
  const socket = await connect('heidi')

  const failed = await socket.ask({ type: 'list_threads', payload: {} })
  const next = await socket.ask({ type: 'create_thread', payload: { title: 'Still works' } })

  t.match(failed, { type: 'error', payload: { code: 'THREADLINE_INTERNAL', message: 'Something went wrong on the server', retryable: true } })
  t.match(next, { type: 'thread_created', payload: { title: 'Still works' } })
  t.notMatch(JSON.stringify(socket.events), /nobody's business/)
  const line = server.log.find((logged) => logged['request_id'] === failed.request_id)
  t.match(line, { level: 50, user_id: 'heidi', err: { message: /nobody's business/ } })
})

t.test('H113 a message for an agent that does not exist is refused, makes no thread, and the next one is answered', async (t) => {
  const socket = await server.connect('ivan')

  const refused = await socket.ask({ type: 'user_message', payload: { content: 'hello', agent: 'nobody' } })
  const listed = await socket.ask({ type: 'list_threads', payload: {} })
  const next = await socket.ask({ type: 'user_message', payload: { content: 'hello' } })

  t.match(refused, { type: 'error', payload: { code: 'THREADLINE_AGENT_NOT_FOUND', retryable: false } })
  t.match(listed, { payload: { threads: [], total: 0 } })
  t.equal(next.type, 'message_accepted')
  t.match(await socket.until('agent_completed'), { run_id: next.run_id, payload: { status: 'completed' } })
})

// Kill: let `tellThread` of lib/gateway/handler-connection.ts ask for all connections of the user.
t.test('H114 who types in a thread is told so, and so are the other sockets of the thread and no others', async (t) => {
  const [thread, elsewhere] = [await threadOf(server, 'judy'), await threadOf(server, 'judy')]
  const writing = await server.connect('judy', { thread })
  const reading = await server.connect('judy', { thread })
  const others = [
    await server.connect('judy', { thread: elsewhere }),
    await server.connect('judy'),
    await server.connect('mallory', { thread: await threadOf(server, 'mallory') })
  ]

  const acknowledged = await writing.ask({ type: 'typing', payload: {} })
  const told = await reading.until('typing')

  t.match(acknowledged, { type: 'typing', thread_id: thread, payload: { is_typing: true, thread_id: thread } })
  t.match(told, { thread_id: thread, payload: { is_typing: true, thread_id: thread } })
  t.equal(writing.ofType('typing').length, 1)
  for (const other of others) {
    await other.settled()
    t.strictSame(other.ofType('typing'), [])
  }
})

// Kill: watch the token from the start, in the constructor of lib/gateway/attachment.ts.
t.test('the first word comes before any other, also where the token is about to expire', async (t) => {
  const thread = await threadOf(server, 'kim')
  const { storage } = server.app
  const read = Promise.withResolvers<void>()
  const threads = {
    ...storage.threads,
    async state (threadId: ThreadId) {
      await read.promise
      return await storage.threads.state(threadId)
    }
  }
  const { connect } = await startGateway(t, server, { tools: { storage: { ...storage, threads } } })
  const socket = await connect('kim', { thread, expiresAt: new Date(Date.now() + 30_000) })
  const bystander = await connect('kim', { expiresAt: new Date(Date.now() + 30_000) })
  await bystander.until('token_expiring')
  read.resolve()
  await socket.until('token_expiring')

  for (const { events } of [socket, bystander]) {
    t.strictSame(events.map(({ type }) => type).filter((type) => type !== 'presence'), ['connection_established', 'token_expiring'])
  }
})

t.test('a socket whose token expires is told and closed with 4401, unless it was renewed', async (t) => {
  const [left, renewed] = await Promise.all([connectFor(2), connectFor(2)])
  const warned = await renewed.until('token_expiring')

  const answer = await renewed.ask({ type: 'authenticate', payload: { token: await server.token('leo', 3_600) } })
  const { code } = await left.closed

  t.ok(Date.parse(warned.payload.expires_at) <= Date.now())
  t.match(answer, { type: 'token_renewed' })
  t.equal(code, 4401)
  t.match(left.events.at(-1), { type: 'error', payload: { code: 'THREADLINE_TOKEN_EXPIRED' } })
  t.ok(server.log.some((line) => line['code'] === 'THREADLINE_TOKEN_EXPIRED' && line['request_id'] === left.events.at(-1)?.request_id))
  t.match(await renewed.ask({ type: 'ping', payload: {} }), { type: 'pong' })
  t.strictSame(actingAs('leo', () => [...server.app.gateway.registry.getUserConnections()].map(({ connectionId }) => connectionId)), [idOf(renewed)])

  async function connectFor (seconds: number): Promise<TestSocket> {
    const socket = await open(server, { headers: { authorization: `Bearer ${await server.token('leo', seconds)}` } })
    t.teardown(() => { socket.drop() })
    await socket.until('connection_established')
    return socket
  }
})

// Kill: leave the comparison of users out of `renew` in lib/gateway/handler-connection.ts.
t.test('a token of another user, or a bad one, renews nothing and changes nothing', async (t) => {
  const socket = await open(server, { headers: { authorization: `Bearer ${await server.token('nina', 2)}` } })
  await socket.until('connection_established')

  const foreign = await socket.ask({ type: 'authenticate', payload: { token: await server.token('mallory') } })
  const bad = await socket.ask({ type: 'authenticate', payload: { token: 'not-a-token' } })
  const whoami = await socket.ask({ type: 'ping', payload: {} })
  const { code } = await socket.closed

  t.match(foreign, { type: 'error', user_id: 'nina', payload: { code: 'THREADLINE_SENDER_MISMATCH' } })
  t.match(bad, { type: 'error', payload: { code: 'THREADLINE_UNAUTHENTICATED' } })
  t.match(whoami, { type: 'pong', user_id: 'nina' })
  t.equal(code, 4401, 'the old token still ends when it did')
})

// Kill: let `set` of lib/gateway/token-clock.ts start anew after `stop`.
t.test('a renewal that ends after its socket watches no token', async (t) => {
  const verified = Promise.withResolvers<{ userId: ReturnType<typeof toUserId>, expiresAt: Date }>()
  const { connect, newest } = await startGateway(t, server, { verifyToken: async () => await verified.promise })
  const socket = await connect('olga')
  await socket.until('connection_established')
  const gone = once(newest(), 'close')

  socket.send({ type: 'authenticate', payload: { token: 'fresh' } })
  socket.drop()
  await gone
  verified.resolve({ userId: toUserId('olga'), expiresAt: new Date(0) })
  await handled('olga', 'authenticate', 1)
  const bystander = await connect('olga')
  await bystander.settled()

  t.strictSame(server.log.filter((line) => line['user_id'] === 'olga'), [], 'nobody is told that it has expired')
})

// Kill: let the inbox open where establishing has failed, in `takeFrames` of lib/gateway/listen-to-socket.ts.
t.test('a connection that could not be told its first word is closed, and handles nothing', async (t) => {
  const thread = await threadOf(server, 'peggy')
  const { storage } = server.app
  const lost = Promise.withResolvers<ThreadState>()
  const threads = { ...storage.threads, state: async () => await lost.promise }
  const accepted: string[] = []
  const runs: RunStore = {
    ...storage.runs,
    async accept (message) {
      accepted.push(message.content)
      return await storage.runs.accept(message)
    }
  }
  const { connect } = await startGateway(t, server, { tools: { storage: { ...storage, threads, runs } } })
  const socket = await connect('peggy', { thread })

  socket.send({ type: 'user_message', payload: { content: 'too early' } })
  const bystander = await connect('peggy')
  await bystander.settled()
  lost.reject(new Error('The position could not be read'))
  const { code } = await socket.closed

  t.equal(code, 4500)
  t.strictSame(socket.events, [])
  t.strictSame(accepted, [])
})

t.test('G93 a client that reads too slowly is closed with 4508 and has every frame until then', async (t) => {
  const thread = await longThread('quentin')
  const slow = await server.connect('quentin', { thread })
  slow.raw.pause()

  let asked = 0
  const isClosing = () => actingAs('quentin', () => registryOf(server).getConnectionInfo(idOf(slow))?.active) === false
  while (!isClosing()) {
    slow.send({ type: 'get_thread_history', id: `page-${asked++}`, payload: {} })
    await handled('quentin', 'get_thread_history', asked)
  }
  slow.raw.resume()
  const { code, reason } = await slow.closed

  t.strictSame({ code, reason }, { code: 4508, reason: 'slowConsumer' })
  const pages = slow.ofType('thread_history')
  t.ok(pages.length > 1 && pages.length < asked)
  t.strictSame(pages.map((page) => page.reply_to), Array.from(pages, (_page, index) => `page-${index}`), 'without a gap')
  const again = await server.connect('quentin', { thread })
  t.match(await again.ask({ type: 'ping', payload: {} }), { type: 'pong' })
})

// Kill: count the largest frame in lib/gateway/unread-bound.ts as well.
t.test('an answer that is larger than the bound of the outbox reaches a client that reads', async (t) => {
  const thread = await longThread('rupert')
  const socket = await server.connect('rupert')

  const switched = await socket.ask({ type: 'switch_thread', payload: { thread_id: thread } })
  const history = await socket.ask({ type: 'get_thread_history', payload: {} })

  t.match([switched, history], [{ type: 'thread_switched' }, { type: 'thread_history' }])
  t.ok(JSON.stringify(history).length > maxOutboxBytes)
  t.match(await socket.ask({ type: 'ping', payload: {} }), { type: 'pong' })
})

// Kill: cut off whatever is `dead` in `send` of lib/gateway/subscriptions.ts.
t.test('a socket that is being closed is told why, though its thread goes on meanwhile', async (t) => {
  const thread = await longThread('sybil')
  const { gateway, connect, newest } = await startGateway(t, server, { limits: { closeTimeoutMs: 60_000 } })
  const active = await connect('sybil', { thread })
  const slow = await connect('sybil', { thread })
  const end = newest()
  const { payload } = await slow.until('connection_established')
  slow.raw.pause()
  for (let asked = 1; end.bufferedAmount === 0; asked++) {
    slow.send({ type: 'get_thread_history', payload: {} })
    await handled('sybil', 'get_thread_history', asked)
  }

  const connection = actingAs('sybil', () => [...gateway.registry.getUserConnections()].find(({ connectionId }) => connectionId === payload.connection_id))
  connection?.close('drain')
  const completed = await active.chat('meanwhile')
  slow.raw.resume()
  const { code } = await slow.closed

  t.match(completed, { payload: { status: 'completed' } })
  t.equal(code, 1001)
})

t.test('when the server closes, sockets are told to come back elsewhere, and nobody is left', async (t) => {
  const thread = await threadOf(strict, 'trudy')
  const sockets = [await connectStrict(t, 'trudy', { thread }), await connectStrict(t, 'victor')]

  await strict.close()

  t.strictSame(await Promise.all(sockets.map(async ({ closed }) => await closed)), Array(2).fill({ code: 1001, reason: 'drain' }))
  t.match(strict.app.gateway.load, { connections: 0, users: 0, followedThreads: 0 })
})

t.test('a handshake that ends while the server closes is told to come back elsewhere', async (t) => {
  const { gateway, connect } = await startGateway(t, server)
  const socket = await connect('walter')

  await gateway.drain()

  t.match(await socket.closed, { code: 1001 })
  t.throws(() => actingAs('walter', () => { gateway.admit() }), { code: 'THREADLINE_SHUTTING_DOWN' })
  t.throws(() => gateway.accept(socket.raw, { userId: toUserId('walter'), expiresAt: null }, {}), { code: 'THREADLINE_SHUTTING_DOWN' })
  t.match(gateway.load, { connections: 0, users: 0, followedThreads: 0 })
})

interface Handshake {
  readonly headers?: Record<string, string>
  readonly protocols?: string[]
  readonly query?: Record<string, string>
}

function address ({ url }: TestServer, query: Record<string, string> = {}): string {
  return `${url.replace('http', 'ws')}/v1/socket?${new URLSearchParams(query).toString()}`
}

async function open (of: TestServer, { query, ...handshake }: Handshake): Promise<TestSocket> {
  const opened = await openSocket(address(of, query), handshake)
  if (!(opened instanceof TestSocket)) throw new Error(`Refused: ${JSON.stringify(opened)}`)
  return opened
}

async function refusal (of: TestServer, { query, ...handshake }: Handshake): Promise<Refusal> {
  const opened = await openSocket(address(of, query), handshake)
  if (!(opened instanceof TestSocket)) return opened
  opened.drop()
  throw new Error('It was not refused')
}

/** Whether a line of the log has both the code and the request of a refused handshake. */
function isLogged (of: TestServer, { body: { error } }: Refusal): boolean {
  const named = [error?.code, error?.request_id]
  return of.log.some((line) => named[0] === line['code'] && named[1] !== undefined && Object.values(line).includes(named[1]))
}

async function authorization (user: string): Promise<Record<string, string>> {
  return { authorization: `Bearer ${await signToken({ sub: user, exp: inSeconds(3_600) })}` }
}

async function connectStrict (t: { teardown (fn: () => void): void }, user: string, { thread }: { thread?: ThreadId } = {}): Promise<TestSocket> {
  const socket = await open(strict, { headers: await authorization(user), ...thread === undefined ? {} : { query: { thread_id: thread } } })
  t.teardown(() => { socket.drop() })
  await socket.until('connection_established')
  return socket
}

function idOf (socket: TestSocket): ConnectionId {
  return toConnectionId(socket.ofType('connection_established')[0]?.payload.connection_id)
}

function registryOf ({ app }: TestServer) {
  return app.gateway.registry
}

async function threadOf ({ app }: TestServer, user: string): Promise<ThreadId> {
  const threadId = newThreadId()
  await actingAs(user, () => app.storage.threads.create(threadId))
  return threadId
}

/** A thread of the user whose recent history is larger than what may wait in an outbox. */
async function longThread (user: string): Promise<ThreadId> {
  const thread = await threadOf(server, user)
  const socket = await server.connect(user, { thread })
  for (let sent = 0; sent * maxContentCharacters <= maxOutboxBytes * 2; sent++) await socket.chat('x'.repeat(maxContentCharacters))
  await socket.close()
  return thread
}

/** So many commands of this type have been handled for the user. */
async function handled (user: string, command: string, count: number): Promise<void> {
  await server.spans.until((spans) => spans.filter(({ name, attributes: { [attributes.userId]: userId, [attributes.command]: type } }) =>
    name === 'handler' && userId === user && type === command).length >= count || undefined)
}
