import { connect as connectTcp, type Socket } from 'node:net'
import t from 'tap'
import { WebSocket } from 'ws'
import { commandSchemas, commandTypes, maxContentCharacters, type CommandType } from '../../lib/protocol/commands.ts'
import { eventTypes, type ServerEvent } from '../../lib/protocol/events.ts'
import { newMessageId, newRunId, newThreadId, type ThreadId } from '../../lib/protocol/ids.ts'
import type { ThreadStore } from '../../lib/stores/thread-store.ts'
import { actingAs } from '../support/acting-as.ts'
import { hostileThreadIds } from '../support/hostile-ids.ts'
import { createObservingAgent } from '../support/observing-agent.ts'
import { startGateway } from '../support/start-gateway.ts'
import { startServer } from '../support/start-server.ts'
import { TestSocket, type Sendable } from '../support/test-socket.ts'

// What bad input gets: a typed error or the close code that the design names. Whatever it was, nothing is stored or run, the log names
// the request, and the next good message works.

const { agent, seen } = createObservingAgent()
const server = await startServer(t, { agents: [agent], env: { DEFAULT_AGENT: 'observer' } })
const { storage, gateway, config } = server.app

t.test('H109 text that is not a JSON object is answered with a JSON error', async (t) => {
  const texts = ['', ' ', 'hello', '{', '{"type":"ping"', '{"type":"ping"}{"type":"ping"}', '[{"type":"ping"}]', '"ping"', 'null', '1', '\0', '\ufeff{"type":"ping"}']

  await refusedByAll(t, 'alice', texts.map((text) => ({ name: JSON.stringify(text), text })), ({ payload }) => {
    t.match(payload, { code: 'THREADLINE_BAD_JSON', retryable: false })
  })
})

t.test('H111 an unknown type is named, runs nothing, and the socket stays', async (t) => {
  const types = ['dance', '', 'User_Message', 'user_message ', 'constructor', '__proto__', 'toString', 'x'.repeat(10_000), 7, null, ['ping'], { type: 'ping' }, undefined]

  const frames = types.map((type) => ({
    name: JSON.stringify(type) ?? 'none', text: JSON.stringify({ type, id: 'its-id', payload: { content: 'hello' } })
  }))

  await refusedByAll(t, 'bob', frames, (error, name) => {
    t.match(error, { reply_to: 'its-id', payload: { code: 'THREADLINE_UNKNOWN_TYPE' } }, name)
    t.ok(error.payload.message.length < 150, `${name} is named, and not echoed at any length`)
    if (name === '"dance"') t.match(error.payload.message, /"dance"/)
  })
})

t.test('F89 a type that only the server sends is refused, and starts nothing', async (t) => {
  const types = eventTypes.filter((type) => !(commandTypes as readonly string[]).includes(type))
  const payload = { content: 'hello', agent: 'observer', message_id: newThreadId(), input: 'hello' }

  t.ok(types.includes('agent_started'))
  await refusedByAll(t, 'carol', types.map((type) => ({ name: type, text: JSON.stringify({ type, id: 'its-id', payload }) })), (error, name) => {
    t.match(error, { reply_to: 'its-id', payload: { code: 'THREADLINE_SERVER_ONLY_TYPE', message: `Only the server sends ${name}` } })
  })
})

t.test('H112 a message without text is asked for text, and makes no run and no thread', async (t) => {
  const empty = ['', ' ', '\n\t ', '\u00a0\u2003', null, 7, [], {}, undefined]
  const frames = empty.flatMap((content) => [
    { name: `user_message ${JSON.stringify(content)}`, text: JSON.stringify({ type: 'user_message', id: 'its-id', payload: { content } }) },
    { name: `start_agent ${JSON.stringify(content)}`, text: JSON.stringify({ type: 'start_agent', id: 'its-id', payload: { agent: 'observer', input: content } }) }
  ])

  await refusedByAll(t, 'dave', [...frames, { name: 'no payload', text: '{"type":"user_message","id":"its-id"}' }], (error, name) => {
    t.match(error, { reply_to: 'its-id', thread_id: null, payload: { code: 'THREADLINE_EMPTY_CONTENT' } }, name)
  })
})

t.test('a command that breaks its schema is refused', async (t) => {
  const payloads: Record<string, Sendable> = {
    'payload as list': { type: 'ping', payload: ['hello'] },
    'payload as text': { type: 'ping', payload: 'hello' },
    'an unknown field': { type: 'user_message', payload: { content: 'hello', run_now: true } },
    'over-long content': { type: 'user_message', payload: { content: 'x'.repeat(maxContentCharacters + 1) } },
    'a zero character': { type: 'user_message', payload: { content: 'hel\0lo' } },
    'a zero character in its id': { type: 'user_message', id: '\0', payload: { content: 'hello' } },
    'an unknown strategy': { type: 'user_message', payload: { content: 'hello', multitask_strategy: 'replace' } },
    'an over-long id': { type: 'user_message', id: 'x'.repeat(129), payload: { content: 'hello' } },
    'an over-long title': { type: 'create_thread', payload: { title: 'x'.repeat(201) } },
    'a blank title': { type: 'create_thread', payload: { title: ' ' } },
    'an endless page': { type: 'list_threads', payload: { limit: 1e9 } },
    'a negative page': { type: 'list_threads', payload: { offset: -1 } },
    'half a page': { type: 'list_threads', payload: { limit: 0.5 } },
    'an over-long traceparent': { type: 'user_message', payload: { content: 'hello' }, traceparent: '0'.repeat(129) }
  }

  const nested = `${'['.repeat(20_000)}${']'.repeat(20_000)}` // deeper than `JSON.stringify` goes
  const tooDeep = { name: 'deeply nested metadata', text: `{"type":"user_message","payload":{"content":"hello","metadata":{"a":${nested}}}}` }
  const frames = [tooDeep, ...Object.entries(payloads).map(([name, frame]) => ({ name, text: JSON.stringify(frame) }))]

  await refusedByAll(t, 'erin', frames, ({ payload }, name) => {
    t.match(payload, { code: 'THREADLINE_BAD_REQUEST', retryable: false }, name)
  })
})

// Kill: let `namesSender` of lib/protocol/decode-command.ts always say no.
t.test('D49 a message that names a sender is refused, and runs for nobody', async (t) => {
  const victim = await stored('frank')
  const fields = ['user_id', 'userId', 'sender', 'sender_id']
  const frames = fields.flatMap((field) => [
    { name: `${field} beside the payload`, text: JSON.stringify({ type: 'user_message', [field]: 'frank', payload: { content: 'hello' } }) },
    { name: `${field} in the payload`, text: JSON.stringify({ type: 'user_message', payload: { content: 'hello', [field]: 'frank' } }) },
    { name: `${field} of an agent`, text: JSON.stringify({ type: 'start_agent', [field]: 'frank', payload: { agent: 'observer', input: 'hello' } }) },
    { name: `${field} of a list`, text: JSON.stringify({ type: 'list_threads', [field]: 'frank', payload: {} }) }
  ])

  await refusedByAll(t, 'mallory', frames, (error, name) => {
    t.match(error, { user_id: 'mallory', payload: { code: 'THREADLINE_SENDER_MISMATCH' } }, name)
  })
  t.strictSame(await stored('frank'), victim)
})

// Kill: take the user of `arrived` in lib/gateway/receive-frame.ts from the frame's metadata.
t.test('D49 whoever is named in metadata, a message is that of the authenticated user', async (t) => {
  const thread = await threadOf('mallory')
  const socket = await server.connect('mallory', { thread })
  const names = { user_id: 'frank', sender: 'frank', thread_id: newThreadId() }

  const completed = await socket.chat('in whose name?', { metadata: names })

  t.match(completed, { user_id: 'mallory', thread_id: thread, payload: { status: 'completed' } })
  t.same(new Set(seen.filter(({ content }) => content === 'in whose name?').map(({ identity }) => identity.userId)), new Set(['mallory']))
  t.match(await stored('frank'), { total: 0 })
})

t.test('a frame above the limit is refused with 4413, whatever is in it', async (t) => {
  const socket = await server.connect('grace')
  const sibling = await server.connect('grace')
  const before = await stored('grace')
  const frame = JSON.stringify({ type: 'user_message', payload: { content: 'é'.repeat(maxContentCharacters) } })
  const tooLarge = frame.padEnd(frame.length + config.maxFrameBytes - Buffer.byteLength(frame) + 1)

  socket.sendText(tooLarge)
  const { code } = await socket.closed

  t.equal(Buffer.byteLength(tooLarge), config.maxFrameBytes + 1)
  t.equal(code, 4413)
  t.match(socket.events.at(-1), { type: 'error', payload: { code: 'THREADLINE_BODY_TOO_LARGE' } })
  isLogged(t, socket.events.at(-1))
  t.strictSame(await stored('grace'), before)
  t.match(await sibling.ask({ type: 'ping', payload: {} }), { type: 'pong' })
  sibling.sendText(tooLarge.slice(0, -1))
  t.match(await sibling.until('agent_completed'), { payload: { status: 'completed' } }, 'one byte less is taken')
})

t.test('a frame that is not text is refused with 4400, and what is no frame at all with the codes of RFC 6455', async (t) => {
  const hello = JSON.stringify({ type: 'user_message', payload: { content: 'hello' } })
  const frames: readonly (readonly [string, Buffer, { binary: boolean }, number])[] = [
    ['binary', Buffer.from(hello), { binary: true }, 4400],
    ['empty binary', Buffer.alloc(0), { binary: true }, 4400],
    ['text that is not UTF-8', Buffer.concat([Buffer.from(hello.slice(0, -4)), Buffer.from([0xff, 0xfe]), Buffer.from('"}}')]), { binary: false }, 1007],
    ['beyond any limit', Buffer.alloc(2 * 1024 * 1024, 'x'), { binary: false }, 1009]
  ]

  for (const [name, bytes, options, expected] of frames) {
    const socket = await server.connect('heidi')
    const from = server.log.length
    socket.raw.send(bytes, options)
    socket.send({ type: 'user_message', payload: { content: 'behind it' } })
    const { code } = await socket.closed

    t.equal(code, expected, name)
    if (expected === 4400) {
      t.match(socket.events.at(-1), { type: 'error', payload: { code: 'THREADLINE_BAD_JSON' } })
      isLogged(t, socket.events.at(-1))
    }
    t.match(server.log.slice(from).find((line) => line['user_id'] === 'heidi'), { level: 40, request_id: /./ }, `${name}: the log names the request`)
  }
  t.match(await stored('heidi'), { total: 0 })
  t.notOk(server.log.some(({ level }) => level >= 50), 'none of it is taken for a fault of the server')
  const next = await server.connect('heidi')
  t.match(await next.ask({ type: 'ping', payload: {} }), { type: 'pong' })
})

t.test('E68 a hostile thread id is refused in every command that can carry one', async (t) => {
  const own = await threadOf('ivan')
  const texts = Object.entries(hostileThreadIds).filter(([, id]) => id.length <= 10_000)
  const others = { null: null, 'a number': 7, 'a list': [newThreadId()], 'an object': { $ne: null }, true: true }
  const ids: readonly (readonly [string, unknown])[] = [...texts, ...Object.entries(others)]
  const frames = ids.flatMap(([name, id]) => [...placesFor(id, own)].map(([place, frame]) => {
    return { name: `${name} in ${place}`, text: JSON.stringify(frame) }
  }))

  t.equal(frames.length, ids.length * (commandTypes.length + targeted.length))
  const otherwise: unknown[] = []
  await refusedByAll(t, 'ivan', frames, ({ thread_id: threadId, payload: { code } }, name) => {
    if (code !== 'THREADLINE_INVALID_THREAD_ID' || threadId !== null) otherwise.push({ name, code, threadId })
  })
  t.strictSame(otherwise, [])
})

t.test('E68 a hostile thread id in the connect request is refused before the upgrade', async (t) => {
  const before = gateway.load

  for (const [name, id] of Object.entries(hostileThreadIds).filter(([, id]) => id.length <= 10_000)) {
    const refused = await server.open('judy', { thread: id.toWellFormed() })
    t.match(refused, { status: 400, body: { error: { code: 'THREADLINE_INVALID_THREAD_ID' } } }, name)
  }
  t.equal(actingAs('judy', () => gateway.registry.getUserConnections().size), 0)
  t.ok(gateway.load.users <= before.users)
})

t.test('E68 a hostile id of a run or of a message, and a hostile cursor, are refused in every command that takes one', async (t) => {
  const own = await threadOf('ines')
  const texts = Object.entries(hostileThreadIds).filter(([, id]) => id.length <= 10_000)
  const others = { null: null, 'a number': 7, 'a list': [newMessageId()], 'an object': { $ne: null }, true: true }
  const ids: readonly (readonly [string, unknown])[] = [...texts, ...Object.entries(others)]
  const isOfRun = (id: unknown): boolean => typeof id === 'string' && id.startsWith('run_')
  const places: readonly (readonly [CommandType, string])[] = [
    ['stop_agent', 'run_id'], ['get_run', 'run_id'], ['list_runs', 'before'], ['user_message', 'edit_of'], ['regenerate', 'message_id'],
    ['select_branch', 'message_id'], ['fork_thread', 'message_id'], ['get_thread_history', 'before'], ['list_threads', 'cursor'], ['search_threads', 'cursor']
  ]
  const frames = places.flatMap(([type, field]) => ids.flatMap(([name, id]) => {
    const takesRun = field === 'run_id' || type === 'list_runs'
    if (takesRun && isOfRun(id)) return [] // is one
    const payload = { ...payloads[type], ...(targeted.includes(type) ? { thread_id: own } : {}), [field]: id }
    return [{ name: `${name} as ${field} of ${type}`, text: JSON.stringify({ type, thread_id: own, payload }) }]
  }))

  const otherwise: unknown[] = []
  await refusedByAll(t, 'ines', frames, ({ payload: { code } }, name) => {
    const expected = name.includes(' as run_id of ') ? 'THREADLINE_INVALID_RUN_ID' : 'THREADLINE_BAD_REQUEST'
    if (code !== expected) otherwise.push({ name, code })
  })
  t.strictSame(otherwise, [])
})

// Kill: compare no thread in lib/handlers/get-run.ts, and let lib/storage/own-thread.ts take a message of any thread.
t.test('E56 a foreign run or message is as unknown as one that does not exist, also from the user\'s own other thread', async (t) => {
  const [own, other, foreign] = [await threadOf('kurt'), await threadOf('kurt'), await threadOf('lena')]
  const socket = await server.connect('kurt', { thread: own })
  await socket.chat('of his own')
  const [elsewhere, theirs] = [await chatIn('kurt', other), await chatIn('lena', foreign)]
  const before = { kurt: await stored('kurt'), lena: await stored('lena') }
  const ask = async ({ run_id: run, message_id: message }: { run_id: string, message_id: string }): Promise<readonly unknown[]> => {
    const frames: readonly Sendable[] = [
      { type: 'stop_agent', payload: { run_id: run } },
      { type: 'get_run', payload: { run_id: run } },
      { type: 'list_runs', payload: { before: run } },
      { type: 'user_message', payload: { content: 'instead of that', edit_of: message } },
      { type: 'regenerate', payload: { message_id: message } },
      { type: 'select_branch', payload: { message_id: message } },
      { type: 'fork_thread', payload: { thread_id: own, message_id: message } },
      { type: 'get_thread_history', payload: { before: message } }
    ]
    const answers: unknown[] = []
    for (const frame of frames) {
      const { type, thread_id: thread, payload } = await socket.ask(frame)
      answers.push({ command: frame.type, type, thread, payload })
    }
    return answers
  }

  const unknown = await ask({ run_id: newRunId(own), message_id: newMessageId() })

  for (const answer of unknown) t.match(answer, { type: 'error', thread: own, payload: { code: /^THREADLINE_(RUN_)?NOT_FOUND$/ } })
  t.strictSame(await ask(elsewhere), unknown)
  t.strictSame(await ask(theirs), unknown)
  t.strictSame({ kurt: await stored('kurt'), lena: await stored('lena') }, before)
  t.equal(server.violations.length, 0)
})

// Kill: leave `require` of the named threads out of `identityOfCommand` in lib/gateway/identity-of-command.ts, of all and of the second.
t.test('E56 E61 E65 a foreign thread is as unknown as one that does not exist, in every command that can name one', async (t) => {
  const own = await threadOf('kim')
  const [foreign, unknown, deleted] = [await threadOf('leo'), newThreadId(), await threadOf('kim')]
  await actingAs('kim', () => storage.threads.remove(deleted))
  const owner = await server.connect('leo', { thread: foreign })
  const socket = await server.connect('kim', { thread: own })
  const before = { kim: await stored('kim'), leo: await stored('leo'), seen: seen.length }

  const restoring = 'the payload of restore_thread' // which a deleted thread is there for
  const answersFor = async (thread: string, except?: string): Promise<readonly Readonly<Record<string, unknown>>[]> => {
    const answers: Readonly<Record<string, unknown>>[] = []
    for (const [place, frame] of placesFor(thread, own)) {
      if (place === except) continue
      const answer = await socket.ask(frame)
      isLogged(t, answer)
      answers.push({ place, type: answer.type, thread: answer.thread_id, run: answer.run_id, payload: answer.payload })
    }
    return answers
  }
  const foreignAnswers = await answersFor(foreign)

  for (const answer of foreignAnswers) {
    t.match(answer, { type: 'error', thread: null, run: undefined, payload: { code: 'THREADLINE_THREAD_NOT_FOUND', retryable: false } })
  }
  t.strictSame(await answersFor(unknown), foreignAnswers)
  t.strictSame(await answersFor(deleted, restoring), foreignAnswers.filter(({ place }) => place !== restoring))
  t.strictSame({ kim: await stored('kim'), leo: await stored('leo'), seen: seen.length }, before)
  t.strictSame((await owner.settled()).map(({ type }) => type).filter((type) => type !== 'presence'), ['connection_established', 'pong'])
  t.match(await socket.chat('and now?'), { thread_id: own, payload: { status: 'completed' } }, 'the connection has stayed in its thread')
  t.equal(server.violations.length, 0, 'it was refused before any guard had to')
})

// Kill: leave `require` out of the `preHandler` of routes/socket.ts.
t.test('K132 a foreign thread in the connect request is as unknown as one that does not exist, and nothing is bound to it', async (t) => {
  const foreign = await threadOf('nina')
  const deleted = await threadOf('olga')
  await actingAs('olga', () => storage.threads.remove(deleted))
  const owner = await server.connect('nina', { thread: foreign })

  for (const thread of [foreign, newThreadId(), deleted]) {
    const refused = await server.open('olga', { thread })
    if (refused instanceof TestSocket) throw new Error('It was not refused')
    const { request_id: requestId, ...told } = refused.body.error ?? { request_id: undefined }

    t.strictSame({ status: refused.status, told }, { status: 404, told: { code: 'THREADLINE_THREAD_NOT_FOUND', message: 'There is no such thread' } })
    t.ok(server.log.some((line) => Object.values(line).includes(requestId) && line['code'] === 'THREADLINE_THREAD_NOT_FOUND'))
  }
  t.equal(actingAs('olga', () => gateway.registry.getUserConnections().size), 0)
  t.strictSame((await owner.settled()).map(({ type }) => type), ['connection_established', 'presence', 'pong'])
})

// Kill: listen to `message` a turn later, in `listenToSocket` of lib/gateway/listen-to-socket.ts.
t.test('G95 messages that come in one packet with the handshake are handled once, in the right thread', async (t) => {
  const thread = await threadOf('peggy')
  const first = { type: 'user_message', id: 'first', payload: { content: 'before I was greeted' } }
  const second = { type: 'get_thread_history', id: 'second', payload: {} }
  const frames = Buffer.concat([first, second].map((command) => textFrame(JSON.stringify(command))))
  const socket = new TestSocket(new WebSocket(`${server.url.replace('http', 'ws')}/v1/socket?thread_id=${thread}`, {
    headers: { authorization: `Bearer ${await server.token('peggy')}` },
    createConnection: () => appendToFirstWrite(connectTcp(Number(new URL(server.url).port), '127.0.0.1'), frames)
  }))
  t.teardown(() => { socket.drop() })

  const history = await socket.next((event) => event.reply_to === 'second')
  const completed = await socket.until('agent_completed')

  t.equal(socket.events[0]?.type, 'connection_established')
  t.strictSame(socket.events.filter((event) => event.reply_to !== undefined).map((event) => [event.reply_to, event.type, event.thread_id]), [
    ['first', 'message_accepted', thread], ['second', 'thread_history', thread]
  ])
  t.match(history.payload, { messages: [{ role: 'user', content: 'before I was greeted', thread_id: thread }] })
  t.match(completed, { user_id: 'peggy', thread_id: thread, payload: { status: 'completed' } })
  const served = seen.filter(({ content }) => content === 'before I was greeted')
  t.same(new Set(served.map(({ identity: { userId, threadId } }) => `${userId} ${threadId}`)), new Set([`peggy ${thread}`]))
})

// Kill: give each frame to `receiveFrame` as it comes, in `takeFrame` of lib/gateway/listen-to-socket.ts.
t.test('G94 messages that are sent before the connection is ready wait, and are handled once each in their order', async (t) => {
  const thread = await threadOf('quentin')
  const { connect, ready } = await startSlowGateway(t)
  const socket = await connect('quentin', { thread })
  const ids = Array.from({ length: 10 }, (_item, index) => `message-${index}`)

  for (const id of ids) socket.send({ type: 'user_message', id, payload: { content: id } })
  const bystander = await connect('quentin')
  await bystander.settled()
  const beforeReady = { events: [...socket.events], stored: await stored('quentin') }
  ready.resolve()
  for (const id of ids) await socket.next((event) => event.reply_to === id)

  t.strictSame(beforeReady.events, [])
  t.match(beforeReady.stored, { threads: [{ messages: [], runs: [] }] })
  t.equal(socket.events[0]?.type, 'connection_established')
  t.strictSame(socket.ofType('message_accepted').map((event) => event.reply_to), ids)
  for (const { run_id: runId } of socket.ofType('message_accepted')) await socket.until('agent_completed', (event) => event.run_id === runId)
  const { messages } = await actingAs('quentin', () => storage.messages.history(thread, { limit: 100 }))
  t.strictSame(messages.filter(({ role }) => role === 'user').map(({ content }) => content), ids)
  t.equal(messages.length, 2 * ids.length)
})

t.test('G93 of messages that do not fit into the inbox each is answered with an error, and the others are handled', async (t) => {
  const thread = await threadOf('rupert')
  const { connect, ready } = await startSlowGateway(t, 4)
  const socket = await connect('rupert', { thread })
  const ids = Array.from({ length: 10 }, (_item, index) => `ping-${index}`)

  for (const id of ids) socket.send({ type: 'ping', id, payload: {} })
  await socket.next(() => socket.ofType('error').length === 6)
  ready.resolve()
  await socket.next((event) => event.reply_to === 'ping-3')

  t.strictSame(socket.ofType('pong').map((event) => event.reply_to), ids.slice(0, 4))
  for (const error of socket.ofType('error')) {
    t.match(error, { payload: { code: 'THREADLINE_RATE_LIMITED', retryable: true } })
    isLogged(t, error)
  }
  t.match(await socket.ask({ type: 'ping', payload: {} }), { type: 'pong' })
})

interface Frame { readonly name: string, readonly text: string }
type Asserting = Pick<typeof t, 'ok' | 'equal' | 'match' | 'strictSame' | 'teardown'>

/**
 * Sends frames of which each must be answered with one error event on a socket that stays, and looks that they have left nothing behind:
 * nothing stored, nothing run, each in the log, and the socket is as good as before.
 */
async function refusedByAll (t: Asserting, user: string, frames: readonly Frame[], examine: (error: ServerEvent<'error'>, name: string) => void): Promise<void> {
  const socket = await server.connect(user)
  const before = { stored: await stored(user), seen: seen.length }

  for (const { name, text } of frames) {
    const from = socket.events.length
    socket.sendText(text)
    const error = await socket.until('error', undefined, from)
    examine(error, name)
    isLogged(t, error)
  }
  const answers = (await socket.settled()).map(({ type }) => type)

  t.strictSame(answers, ['connection_established', ...frames.map(() => 'error'), 'pong'])
  t.strictSame({ stored: await stored(user), seen: seen.length }, before)
  t.match(await socket.ask({ type: 'user_message', payload: { content: 'and a good one' } }), { type: 'message_accepted', user_id: user })
  t.match(await socket.until('agent_completed'), { payload: { status: 'completed', content: 'and a good one seen' } })
}

function isLogged (t: Asserting, error: ServerEvent | undefined): void {
  const { code } = (error as ServerEvent<'error'>).payload // whoever asks has an error
  const lines = server.log.filter((line) => line['request_id'] === error?.request_id && line['code'] === code)
  if (lines.length !== 1) t.strictSame(lines, [{ code, request_id: error?.request_id }], 'the log names the request, once')
}

/**
 * Every command with the thread id wherever it can have one: beside the payload, where those that are about a thread name the user's own
 * in it, and in the payload of these.
 */
function placesFor (threadId: unknown, own: ThreadId): ReadonlyMap<string, Sendable> {
  const places = new Map<string, Sendable>()
  for (const type of commandTypes) {
    const isAboutThread = targeted.includes(type)
    places.set(type, { type, thread_id: threadId, payload: isAboutThread ? { ...payloads[type], thread_id: own } : payloads[type] })
    if (isAboutThread) places.set(`the payload of ${type}`, { type, payload: { ...payloads[type], thread_id: threadId } })
  }
  return places
}

const targeted: readonly CommandType[] = commandTypes.filter((type) => 'thread_id' in commandSchemas[type].properties.payload.properties)

const payloads: Readonly<Record<CommandType, Readonly<Record<string, unknown>>>> = {
  user_message: { content: 'hello' },
  regenerate: {},
  select_branch: { message_id: newMessageId() },
  start_agent: { agent: 'observer', input: 'hello' },
  stop_agent: {},
  get_run: { run_id: newRunId(newThreadId()) },
  get_run_isolation: { run_id: newRunId(newThreadId()) },
  list_runs: {},
  resume: { after: 0, epoch: 'an epoch' },
  create_thread: { title: 'New' },
  get_thread: {},
  update_thread: { title: 'Changed' },
  archive_thread: {},
  restore_thread: {},
  fork_thread: {},
  rename_thread: { title: 'Renamed' },
  delete_thread: {},
  list_threads: {},
  search_threads: { query: 'hello' },
  switch_thread: {},
  get_thread_history: {},
  authenticate: { token: 'x' },
  typing: {},
  ping: {}
}

/** A message that is answered in a thread of the user. */
async function chatIn (user: string, thread: ThreadId): Promise<{ run_id: string, message_id: string }> {
  const socket = await server.connect(user, { thread })
  await socket.chat('hello')
  await socket.close()
  const [accepted] = socket.ofType('message_accepted')
  if (accepted === undefined) throw new Error('It was not accepted')
  return accepted.payload
}

/** Everything that is stored of a user. */
async function stored (user: string) {
  return await actingAs(user, async () => {
    const { threads, total } = await storage.threads.list({ limit: 100, offset: 0 })
    return {
      total,
      threads: await Promise.all(threads.map(async (thread) => {
        const threadId = thread.thread_id as ThreadId // the store's own answer
        const { messages } = await storage.messages.history(threadId, { limit: 200 })
        return { thread, messages, runs: (await storage.runs.list(threadId, { limit: 200 })).runs }
      }))
    }
  })
}

async function threadOf (user: string): Promise<ThreadId> {
  const threadId = newThreadId()
  await actingAs(user, () => storage.threads.create(threadId))
  return threadId
}

/** A gateway whose connections in a thread are not ready before `ready` is resolved. */
async function startSlowGateway (t: Asserting, maxInboxFrames = config.maxInboxFrames) {
  const ready = Promise.withResolvers<void>()
  const threads: ThreadStore = {
    ...storage.threads,
    async state (threadId) {
      await ready.promise
      return await storage.threads.state(threadId)
    }
  }
  const { connect } = await startGateway(t, server, { tools: { storage: { ...storage, threads } }, limits: { maxInboxFrames } })
  return { connect, ready }
}

/** A masked text frame of a client (RFC 6455, section 5.2), of at most 125 bytes. */
function textFrame (text: string): Buffer {
  const payload = Buffer.from(text)
  const mask = Buffer.from([1, 2, 3, 4])
  return Buffer.concat([Buffer.from([0x81, 0x80 | payload.length]), mask, payload.map((byte, index) => byte ^ (mask[index % 4] ?? 0))])
}

/** The socket, whose first write, the request, takes these bytes along in the same packet. */
function appendToFirstWrite (socket: Socket, bytes: Buffer): Socket {
  const write = socket.write.bind(socket)
  socket.write = (chunk: string | Uint8Array) => {
    socket.write = write
    return write(Buffer.concat([Buffer.from(chunk), bytes]))
  }
  return socket
}
