import t from 'tap'
import type { ServerEvent } from '../../lib/protocol/events.ts'
import { newThreadId, toRunId, toThreadId, type ThreadId } from '../../lib/protocol/ids.ts'
import { actingAs } from '../support/acting-as.ts'
import { createGatedAgent } from '../support/gated-agent.ts'
import { endOfRun } from '../support/run-end.ts'
import { startServer } from '../support/start-server.ts'
import { readThread } from '../support/stored-thread.ts'
import { strangers } from '../support/strangers.ts'
import type { TestSocket } from '../support/test-socket.ts'

// A connection that goes from thread to thread. Users are named after their case.

const gated = createGatedAgent()
const server = await startServer(t, { agents: [gated.agent], env: { DEFAULT_AGENT: 'echo', MAX_CONNECTIONS_PER_USER: 64 } })
const { storage, gateway } = server.app

t.test('E55 switch_thread without an id is told that a thread id is required, and the thread stays', async (t) => {
  const [thread, other] = [await server.thread('e55-anna'), await server.thread('e55-anna')]
  const socket = await server.connect('e55-anna', { thread })

  for (const frame of [{ payload: {} }, {}, { thread_id: other, payload: {} }]) {
    const refused = await socket.ask({ type: 'switch_thread', ...frame })

    t.match(refused, { type: 'error', payload: { code: 'THREADLINE_THREAD_REQUIRED', message: 'A thread id is required', retryable: false } })
    t.equal(threadOf('e55-anna', socket), thread)
  }
  t.match(await socket.chat('still here?'), { thread_id: thread, payload: { status: 'completed' } })
})

// Kill: leave `require` of the named threads out of `identityOfCommand` in lib/gateway/identity-of-command.ts.
t.test('E56 switch_thread to a thread of another user, an unknown or a deleted one is not found alike, and the connection stays where it was', async (t) => {
  const [thread, deleted] = [await server.thread('e56-anna'), await server.thread('e56-anna')]
  const foreign = await server.thread('e56-ben')
  const owner = await server.connect('e56-ben', { thread: foreign })
  const socket = await server.connect('e56-anna', { thread })
  await socket.ask({ type: 'delete_thread', payload: { thread_id: deleted } })

  const refusals = []
  for (const wanted of [foreign, newThreadId(), deleted]) {
    refusals.push(await socket.ask({ type: 'switch_thread', id: 'switch', payload: { thread_id: wanted } }))
    t.equal(threadOf('e56-anna', socket), thread)
  }

  for (const refusal of refusals) {
    t.strictSame(told(refusal), told(refusals[0]))
    t.match(refusal, { type: 'error', thread_id: null, payload: { code: 'THREADLINE_THREAD_NOT_FOUND' } })
  }
  t.match(await socket.chat('and now?'), { thread_id: thread, payload: { status: 'completed' } })
  t.same((await owner.settled()).map(({ type }) => type), ['connection_established', 'presence', 'pong'], 'its owner has noticed nothing')
  t.equal(server.violations.length, 0)
})

t.test('E57 switch_thread to an own thread brings its history, and later messages run in it', async (t) => {
  const [first, second] = [await server.thread('e57-anna'), await server.thread('e57-anna', 'The second')]
  const before = await server.connect('e57-anna', { thread: second })
  await before.chat('what was said before')
  const socket = await server.connect('e57-anna', { thread: first })

  const switched = await socket.ask({ type: 'switch_thread', payload: { thread_id: second } })
  const completed = await socket.chat('what is said after')

  const { messages } = await readThread(storage, 'e57-anna', second)
  t.match(switched, {
    type: 'thread_switched',
    thread_id: second,
    payload: { thread: { thread_id: second, title: 'The second' }, has_more: false, active_runs: [], epoch: storage.epoch }
  })
  t.strictSame((switched as ServerEvent<'thread_switched'>).payload.messages, messages.slice(0, 2))
  t.match(completed, { thread_id: second, payload: { status: 'completed' } })
  t.equal(socket.runEvents[0]?.sequence, (switched as ServerEvent<'thread_switched'>).payload.sequence + 1, 'live events follow the position')
  t.same(messages.map(({ content }) => content.endsWith('what is said after')), [false, false, true, true])
  t.same((await readThread(storage, 'e57-anna', first)).messages, [])
})

// Kill: let `writeThreadEvent` of lib/gateway/connection.ts compare no thread, and `leave` of lib/gateway/subscriptions.ts do nothing.
t.test('E58 a run in one thread goes on under its thread when its socket switches to another, where nothing of it appears', async (t) => {
  const [one, two] = [await server.thread('e58-anna'), await server.thread('e58-anna')]
  const [socket, stayed, waiting] = await Promise.all([one, one, two].map((thread) => server.connect('e58-anna', { thread })))
  if (socket === undefined || stayed === undefined || waiting === undefined) throw new Error('Three sockets')
  const accepted = await socket.ask({ type: 'user_message', payload: { content: 'e58', agent: 'gated' } })
  await stayed.until('agent_thinking')

  await socket.ask({ type: 'switch_thread', payload: { thread_id: two } })
  const from = socket.events.length
  gated.open('e58')
  await stayed.until('agent_completed')
  const inTwo = await socket.chat('meanwhile in the other')

  const ofRun = stayed.runEvents.filter((event) => event.run_id === accepted.run_id)
  t.same(new Set(ofRun.map((event) => event.thread_id)), new Set([one]))
  t.match(ofRun.at(-1), { type: 'agent_completed', payload: { status: 'completed', content: 'e58' } })
  t.same(strangers(socket.events.slice(from), { user: 'e58-anna', threads: [two], runs: [inTwo.run_id ?? ''] }), [])
  t.same(strangers(await waiting.settled(), { user: 'e58-anna', threads: [two], runs: [inTwo.run_id ?? ''] }), [])
  const stored = { one: await readThread(storage, 'e58-anna', one), two: await readThread(storage, 'e58-anna', two) }
  t.same(stored.one.messages.map(({ content }) => content), ['e58', 'e58'])
  t.ok(stored.two.events.every(({ run_id: runId }) => runId === inTwo.run_id))
  t.match(stored.two.events[0], { sequence: 1 }, 'each thread counts for itself')
  t.equal(server.violations.length, 0)
})

t.test('E59 after quick switches the last thread is the connection\'s, and no message sent in between is lost', async (t) => {
  const threads = await Promise.all(Array.from({ length: 3 }, () => server.thread('e59-anna')))
  const [one, two, three] = threads
  if (one === undefined || two === undefined || three === undefined) throw new Error('Three threads')
  const socket = await server.connect('e59-anna', { thread: one })

  socket.send({ type: 'user_message', id: 'in one', payload: { content: 'in one' } })
  socket.send({ type: 'switch_thread', id: 'to two', payload: { thread_id: two } })
  socket.send({ type: 'user_message', id: 'in two', payload: { content: 'in two' } })
  socket.send({ type: 'switch_thread', id: 'to three', payload: { thread_id: three } })
  socket.send({ type: 'user_message', id: 'in three', payload: { content: 'in three' } })
  const events = await socket.settled()

  const answers = events.filter(({ reply_to: id }) => id !== undefined && /^(in|to) /.test(id)).map(({ type, reply_to: id, thread_id: thread }) => [type, id, thread])
  t.strictSame(answers, [
    ['message_accepted', 'in one', one], ['thread_switched', 'to two', two], ['message_accepted', 'in two', two],
    ['thread_switched', 'to three', three], ['message_accepted', 'in three', three]
  ])
  t.equal(threadOf('e59-anna', socket), three)
  for (const accepted of socket.ofType('message_accepted')) await endOfRun(server.app, 'e59-anna', toRunId(accepted.run_id))
  const stored = await Promise.all(threads.map((thread) => readThread(storage, 'e59-anna', thread)))
  t.same(stored.map(({ messages }) => [messages.length, messages[0]?.content]), [[2, 'in one'], [2, 'in two'], [2, 'in three']])
})

t.test('E60 of ten messages and three switches at the same time all are done, each message in one consistent thread', async (t) => {
  const threads = await Promise.all(Array.from({ length: 4 }, () => server.thread('e60-anna')))
  const watching = await Promise.all(threads.map((thread) => server.connect('e60-anna', { thread })))
  const socket = await server.connect('e60-anna', { thread: threads[0] })

  for (let nth = 0; nth < 10; nth += 1) {
    socket.send({ type: 'user_message', id: `m${nth}`, payload: { content: `message ${nth}` } })
    const next = nth % 3 === 2 ? threads[Math.floor(nth / 3) + 1] : undefined
    if (next !== undefined) socket.send({ type: 'switch_thread', id: `s${nth}`, payload: { thread_id: next } })
  }
  await socket.settled()
  const accepted = socket.ofType('message_accepted')
  for (const { run_id: runId, thread_id: thread } of accepted) {
    await watching[threads.indexOf(toThreadId(thread))]?.until('agent_completed', (event) => event.run_id === runId)
  }

  t.equal(socket.ofType('thread_switched').length, 3)
  t.equal(threadOf('e60-anna', socket), threads[3])
  t.strictSame(accepted.map(({ reply_to: id, thread_id: thread }) => [id, thread]), Array.from({ length: 10 }, (_item, nth) => [
    `m${nth}`, threads[Math.min(3, Math.floor(nth / 3))]
  ]))
  for (const [nth, thread] of threads.entries()) {
    const runs = accepted.filter((event) => event.thread_id === thread).map((event) => event.run_id ?? '')
    const { messages } = await readThread(storage, 'e60-anna', thread)
    t.same(new Set(messages.map((message) => message.run_id)), new Set(runs))
    t.equal(messages.length, 2 * runs.length)
    t.same(strangers(await watching[nth]?.settled() ?? [], { user: 'e60-anna', threads: [thread], runs }), [])
    t.equal(watching[nth]?.ofType('agent_completed').length, runs.length, 'each end was delivered, once')
  }
  t.equal(server.violations.length, 0)
})

t.test('E69 twenty switches of a user at the same time are all answered, and each connection ends in a thread that it asked for', async (t) => {
  const threads = await Promise.all(Array.from({ length: 5 }, () => server.thread('e69-anna')))
  const sockets = await Promise.all(Array.from({ length: 20 }, () => server.connect('e69-anna')))
  const [single] = sockets
  if (single === undefined) throw new Error('Twenty sockets')

  const ofMany = await Promise.all(sockets.map((socket, nth) => socket.ask({ type: 'switch_thread', payload: { thread_id: threads[nth % 5] } })))
  const many = sockets.map((socket) => threadOf('e69-anna', socket))
  const wanted = Array.from({ length: 20 }, (_item, nth) => threads[(nth * 3) % 5])
  const ofOne = await Promise.all(wanted.map((thread, nth) => single.ask({ type: 'switch_thread', id: `switch-${nth}`, payload: { thread_id: thread } })))

  t.strictSame(ofMany.map(({ type, thread_id: thread }) => [type, thread]), sockets.map((_socket, nth) => ['thread_switched', threads[nth % 5]]))
  t.strictSame(many, sockets.map((_socket, nth) => threads[nth % 5]))
  t.strictSame(ofOne.map(({ type, thread_id: thread }) => [type, thread]), wanted.map((thread) => ['thread_switched', thread]))
  t.equal(threadOf('e69-anna', single), wanted.at(-1))
  const found = actingAs('e69-anna', () => threads.map((thread) => gateway.registry.getUserConnectionsByThread(thread).size))
  t.equal(found.reduce((sum, size) => sum + size, 0), 20, 'each connection is in exactly one thread')
  for (const socket of sockets) await socket.close()
})

/** The thread that the registry knows the socket to be in. */
function threadOf (user: string, socket: TestSocket): ThreadId | undefined {
  const [established] = socket.ofType('connection_established')
  const [connection] = actingAs(user, () => [...gateway.registry.getUserConnections()])
    .filter(({ connectionId }) => connectionId === established?.payload.connection_id)
  return connection?.threadId
}

/** An event without what is its own: ids, time and trace. */
function told (event: ServerEvent | undefined): unknown {
  return Object.entries(event ?? {}).filter(([name]) => !['event_id', 'request_id', 'timestamp', 'traceparent'].includes(name))
}
