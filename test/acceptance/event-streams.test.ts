import { EventSource } from 'eventsource'
import t from 'tap'
import { Type } from 'typebox'
import { defineAgent } from '../../lib/agents/define-agent.ts'
import type { ServerEvent } from '../../lib/protocol/events.ts'
import { isRunEventType } from '../../lib/protocol/events.ts'
import { newThreadId, type ThreadId } from '../../lib/protocol/ids.ts'
import { defineTool } from '../../lib/tools/define-tool.ts'
import { checkEvent } from '../support/conformance-record.ts'
import { createGatedAgent } from '../support/gated-agent.ts'
import { knownEverywhere } from '../support/known-everywhere.ts'
import { listener } from '../support/listener.ts'
import { startServer } from '../support/start-server.ts'
import { readThread } from '../support/stored-thread.ts'
import { strangers } from '../support/strangers.ts'
import { TestStream, type HttpAnswer } from '../support/test-stream.ts'

// The event stream of a thread, over real HTTP. Users are named after what they do.

const gated = createGatedAgent()
const counting = defineTool({
  name: 'count', description: 'Counts to a number', input: Type.Object({ to: Type.Number() }), execute: async ({ to }) => ({ counted: to })
})
const worker = defineAgent({
  name: 'worker',
  tools: [counting],
  async * run ({ content, callTool }) {
    for (let step = 0; step < Number(content); step += 1) yield { type: 'thinking', message: `step ${step}\nof ${content}` }
    await callTool('count', { to: Number(content) })
    yield { type: 'text', text: 'counted' }
  }
})

const server = await startServer(t, {
  agents: [gated.agent, worker], env: { DEFAULT_AGENT: 'worker', MAX_CONNECTIONS_PER_USER: 4, HEARTBEAT_INTERVAL_MS: 100 }
})
const { storage, gateway } = server.app

const sequencesOf = (events: readonly ServerEvent[]) => events.flatMap(({ sequence }) => sequence ?? [])
const upTo = (last: number) => Array.from({ length: last }, (_, index) => index + 1)

t.test('F73 F75 D47 two readers and a socket are told the same of a run, each everything once, field by field', async (t) => {
  const thread = await server.thread('three')
  const three = await listener(t, server, 'three')
  const [one, two, socket] = await Promise.all([three.follow(thread), three.follow(thread), server.connect('three', { thread })])
  await Promise.all([one.until('connection_established'), two.until('connection_established')])

  const completed = await socket.chat('3')
  await Promise.all([one, two].map((reader) => reader.until('agent_completed')))

  t.ok(socket.runEvents.length > 6)
  for (const reader of [one, two]) {
    t.strictSame(reader.runEvents, socket.runEvents)
    const run = reader.received.filter(({ event }) => isRunEventType(event))
    t.same(run.map(({ data }) => data), socket.runEvents.map((event) => JSON.stringify(event)), 'byte for byte')
    t.same(run.map(({ id }) => id), socket.runEvents.map(({ epoch, sequence }) => `${epoch}:${sequence}`))
    t.same(reader.received.map(({ event }) => event), reader.events.map(({ type }) => type))
    t.same(strangers(reader.events, { user: 'three', threads: [thread], runs: [completed.run_id ?? ''] }), [])
    t.match(reader.events[0], { type: 'connection_established', thread_id: thread, payload: { thread_id: thread, sequence: 0 } })
  }
  const connections = (await socket.settled()).flatMap((event) => isPresence(event) ? event.payload.connections : [])
  t.equal(Math.max(...connections), 3, 'readers are present like a socket')
})

function isPresence (event: ServerEvent): event is ServerEvent<'presence'> {
  return event.type === 'presence'
}

t.test('a stream is not kept by anybody, comes back not at once, and says that it lives', async (t) => {
  const thread = await server.thread('quiet')
  const quiet = await listener(t, server, 'quiet')

  const reader = await quiet.follow(thread)
  await reader.comment()

  t.match(reader.headers, {
    'content-type': 'text/event-stream', 'cache-control': 'no-store, no-transform', 'x-accel-buffering': 'no', 'x-request-id': /^[0-9a-f-]{36}$/
  })
  t.equal(reader.headers['content-encoding'], undefined)
  t.ok(reader.retryMs !== undefined && reader.retryMs >= 500 && reader.retryMs < 2_000)
  t.match(await quiet.ask(`/v1/threads/${thread}/events`, { method: 'HEAD' }), { status: 404 }, 'there is nothing to ask for without the stream')
})

// Kill: let `parseEventId` in lib/protocol/event-stream.ts give one less (`Number(after) - 1`), or one more.
t.test('G90 G91 G96 a reader that is cut off again and again, and comes back with Last-Event-ID, has everything once and in order', async (t) => {
  const thread = await server.thread('restless')
  const restless = await listener(t, server, 'restless')
  const socket = await server.connect('restless', { thread })
  const first = await restless.follow(thread)
  await first.until('connection_established')
  first.drop()
  const writing = Promise.all([25, 40, 30].map((steps) => socket.chat(String(steps))))
  const seed = Math.floor(Math.random() * 2 ** 32)
  const random = randomNumbers(seed)
  t.comment(`seed ${seed}`)

  const seen: ServerEvent[] = []
  let { lastEventId } = first
  for (let ends = 0, cuts = 0; ends < 3; cuts += 1) {
    const reader = await restless.follow(thread, { lastEventId })
    const many = Math.floor(random() * 8)
    await reader.next(() => reader.runEvents.length >= many || reader.ofType('agent_completed').length + ends >= 3)
    reader.drop()
    await reader.closed
    seen.push(...reader.runEvents)
    if (reader.lastEventId !== '') lastEventId = reader.lastEventId // who was told nothing with an id keeps the one that it had
    ends += reader.ofType('agent_completed').length
    if (cuts > 1_000) return t.fail('it never comes to an end')
  }
  await writing

  const { events } = await readThread(storage, 'restless', thread)
  const withoutMark = seen.map(({ replayed: _replayed, ...event }) => event)
  t.same(sequencesOf(seen), upTo(events.length))
  t.strictSame(withoutMark, events, 'live or replayed, an event is the same')
  t.same(socket.runEvents.map(({ event_id: id }) => id), events.map(({ event_id: id }) => id))
})

function randomNumbers (seed: number): () => number {
  let state = seed
  return () => { // mulberry32
    state = (state + 0x6d2b79f5) | 0
    const mixed = Math.imul(state ^ (state >>> 15), state | 1)
    const more = mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61) ^ mixed
    return ((more ^ (more >>> 14)) >>> 0) / 2 ** 32
  }
}

t.test('G90 what was missed is marked and comes between the greeting and what is live', async (t) => {
  const thread = await server.thread('late')
  const late = await listener(t, server, 'late')
  const socket = await server.connect('late', { thread })
  await socket.chat('2')
  const [, second] = socket.runEvents
  const { epoch = '', sequence: last = 0 } = socket.runEvents.at(-1) ?? {}

  const reader = await late.follow(thread, { after: second?.sequence ?? 0, epoch })
  await reader.until('resumed')
  await socket.chat('1')
  const live = await reader.until('agent_completed', ({ replayed }) => replayed !== true)

  const types = reader.events.filter(({ type }) => type !== 'presence').map(({ type, replayed }) => [type, replayed])
  const missed = socket.runEvents.filter(({ sequence = 0 }) => sequence > 2 && sequence <= last).map(({ type }) => [type, true])
  t.same(types.slice(0, missed.length + 2), [['connection_established', undefined], ...missed, ['resumed', undefined]])
  t.match(reader.ofType('resumed'), [{ payload: { after: 2, replayed: last - 2, sequence: last, epoch, active_runs: [] } }])
  t.same(sequencesOf(reader.events), upTo(live.sequence ?? 0).slice(2))
  const ids = Object.fromEntries(reader.received.map(({ event, id }) => [event, id]))
  t.match(ids, { connection_established: undefined, resumed: `${epoch}:${last}` }, 'not before everything was told')
})

t.test('G90 the header wins over the address, to which an EventSource comes back', async (t) => {
  const thread = await server.thread('header')
  const reader = await listener(t, server, 'header')
  const socket = await server.connect('header', { thread })
  const { epoch = '', sequence: last = 0 } = await socket.chat('1')

  const newer = await reader.follow(thread, { lastEventId: `${epoch}:${last - 1}`, after: 0, epoch })
  const unseen = await reader.follow(thread, { lastEventId: '', after: 1, epoch })

  t.match(await newer.until('resumed'), { payload: { after: last - 1, replayed: 1 } })
  t.match(await unseen.until('resumed'), { payload: { after: 1, replayed: last - 1 } })
})

t.test('G91 a place that is not there any more is answered with how the thread stands, and live events follow', async (t) => {
  const thread = await server.thread('lost')
  const lost = await listener(t, server, 'lost')
  const socket = await server.connect('lost', { thread })
  const { epoch = '', sequence: last = 0 } = await socket.chat('1')

  for (const [lastEventId, reason] of [[`another:${last}`, 'epoch_changed'], [`${epoch}:${last + 1}`, 'position_unknown']] as const) {
    const reader = await lost.follow(thread, { lastEventId })
    const resync = await reader.until('resync_required')

    t.match(resync.payload, { reason, sequence: last, epoch, thread: { thread_id: thread }, has_more: false })
    t.match(resync.payload.messages.map(({ role }) => role), ['user', 'assistant'])
    t.equal(reader.lastEventId, `${epoch}:${last}`)
    t.same(reader.runEvents, [])
    reader.drop()
  }
})

t.test('a place that is none is refused before the stream begins', async (t) => {
  const thread = await server.thread('wrong')
  const wrong = await listener(t, server, 'wrong')
  const path = `/v1/threads/${thread}/events`
  const refused = [
    ...await Promise.all(['7', ':7', 'epoch:', 'epoch:x', 'epoch:-1', 'epoch:1.5', 'e p:1', `${'e'.repeat(65)}:1`, 'epoch:9999999999999999'].map(
      (lastEventId) => wrong.ask(path, { headers: { 'last-event-id': lastEventId } })
    )),
    ...await Promise.all(['after=1', 'epoch=e', 'after=-1&epoch=e', 'after=x&epoch=e', 'after=1&epoch='].map((query) => wrong.ask(`${path}?${query}`)))
  ]

  for (const answer of refused) {
    t.match(answer, { status: 400 })
    t.match(answer instanceof TestStream ? '' : answer.text, /"code":"THREADLINE_BAD_REQUEST"/)
  }
  t.same(gateway.load.followedThreads, gateway.load.connections)
})

// No one line is the kill of this: the route asks for the thread, what is told first is read from it again, and row-level security is below.
t.test('K132 D43 the thread of another user, an unknown and a deleted one cannot be told apart, and nothing of them is heard', async (t) => {
  const [foreign, deleted] = [await server.thread('owner'), await server.thread('stranger')]
  const owner = await server.connect('owner', { thread: foreign })
  const { epoch = '' } = await owner.chat('1')
  const own = await server.connect('stranger')
  await own.ask({ type: 'delete_thread', payload: { thread_id: deleted } })
  const stranger = await listener(t, server, 'stranger')
  const before = { ...gateway.load }

  for (const [method, path, headers] of [
    ['GET', 'events', {}], ['GET', 'events', { 'last-event-id': `${epoch}:1` }], ['GET', `events?after=0&epoch=${epoch}`, {}], ['POST', 'runs/stream', {}]
  ] as const) {
    const ask = async (thread: ThreadId) => told(await stranger.ask(`/v1/threads/${thread}/${path}`, {
      method, headers, ...(method === 'POST' ? { body: { content: '1' } } : {})
    }))
    const unknown = await ask(newThreadId())

    t.match(unknown, { status: 404, text: /THREADLINE_THREAD_NOT_FOUND/ })
    t.strictSame(await ask(foreign), unknown)
    t.strictSame(await ask(deleted), unknown)
  }
  t.same((await owner.settled()).length, owner.events.length)
  t.equal((await readThread(storage, 'owner', foreign)).runs.length, 1)
  t.same({ ...gateway.load, windows: before.windows }, before) // housekeeping forgets those of silent users at any time
  t.same(server.violations, [])
})

/** All that an answer tells but for its own time and name. */
function told (answer: TestStream | HttpAnswer): object {
  if (answer instanceof TestStream) throw new Error('A stream')
  const { 'x-request-id': requestId = '' } = answer.headers
  return { ...answer, headers: { ...answer.headers, date: '', 'x-request-id': '' }, text: answer.text.replace(String(requestId), 'id') }
}

t.test('H101 who has no token gets no stream', async (t) => {
  const path = `${server.url}/v1/threads/${await server.thread('nobody')}`

  for (const [url, method] of [[`${path}/events`, 'GET'], [`${path}/runs/stream`, 'POST']] as const) {
    const answer = await fetch(url, { method })

    t.equal(answer.status, 401)
    t.match(await answer.json(), { error: { code: 'THREADLINE_UNAUTHENTICATED' } })
  }
})

t.test('H106 readers and sockets are counted together; who leaves makes room', async (t) => {
  const thread = await server.thread('many')
  const many = await listener(t, server, 'many')
  const readers = await Promise.all([1, 2, 3].map(() => many.follow(thread)))
  const socket = await server.connect('many', { thread })
  await knownEverywhere(server, 'many', thread, 4)

  const refused = [
    await many.ask(`/v1/threads/${thread}/events`),
    await many.ask(`/v1/threads/${thread}/runs/stream`, { method: 'POST', body: { content: '1' } }),
    await server.open('many', { thread })
  ]
  for (const answer of refused) {
    t.match(answer, { status: 429 })
    t.match(JSON.stringify(answer), /THREADLINE_CONNECTION_LIMIT/)
  }
  t.equal((await readThread(storage, 'many', thread)).runs.length, 0, 'what is refused is not begun')
  await (await listener(t, server, 'few')).follow(await server.thread('few'))

  const before = socket.events.length
  readers[0]?.drop()
  await socket.until('presence', ({ payload }) => payload.connections === 3, before)
  await knownEverywhere(server, 'many', thread, 3)
  t.ok(await many.follow(thread))
})

t.test('G90 G97 an EventSource that is not ours comes back by itself, and has everything once and in order', async (t) => {
  const thread = await server.thread('eventsource')
  const token = await server.token('eventsource')
  const socket = await server.connect('eventsource', { thread })
  const places: (string | undefined)[] = []
  const source = new EventSource(`${server.url}/v1/threads/${thread}/events`, {
    fetch: (url, init) => {
      places.push(init.headers['Last-Event-ID'])
      return fetch(url, { ...init, headers: { ...init.headers, authorization: `Bearer ${token}` } })
    }
  })
  t.teardown(() => { source.close() })
  const seen: number[] = []
  for (const type of ['agent_started', 'agent_thinking', 'tool_executing', 'tool_completed', 'agent_delta', 'agent_completed']) {
    source.addEventListener(type, ({ data }) => {
      const event = JSON.parse(data) as { sequence: number }
      checkEvent(event)
      seen.push(event.sequence)
    })
  }
  const greeting = () => new Promise((resolve) => { source.addEventListener('connection_established', resolve, { once: true }) })

  await greeting()
  for (const node of server.gateways) node.server.closeAllConnections() // before it has seen any event of the thread
  await socket.chat('2')
  await greeting()
  for (const node of server.gateways) node.server.closeAllConnections()
  const { sequence: last = 0 } = await socket.chat('2')
  await new Promise<void>((resolve) => {
    source.addEventListener('agent_completed', ({ lastEventId }) => { if (lastEventId.endsWith(`:${last}`)) resolve() })
  })

  t.same(seen, upTo(last))
  t.match(places, [undefined, /:0$/, /:\d+$/])

  const failed = new Promise((resolve) => { source.addEventListener('error', () => { if (source.readyState === source.CLOSED) resolve(true) }) })
  await socket.ask({ type: 'delete_thread', payload: { thread_id: thread } })
  t.ok(await failed, 'and gives up on a thread that is not there any more')
})
