import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import type { Engine } from '../../lib/engine/engine.ts'
import type { MessageView, PayloadOf, ServerEvent } from '../../lib/protocol/events.ts'
import { newThreadId, threadOfRun, toRunId, toThreadId } from '../../lib/protocol/ids.ts'
import { actingAs } from '../support/acting-as.ts'
import { createGatedAgent } from '../support/gated-agent.ts'
import { endOfRun, untilSessions } from '../support/run-end.ts'
import { startGateway } from '../support/start-gateway.ts'
import { startServer } from '../support/start-server.ts'
import { readThread } from '../support/stored-thread.ts'
import { strangers } from '../support/strangers.ts'
import type { TestSocket } from '../support/test-socket.ts'

// What becomes of threads. Users are named after their case.

const gated = createGatedAgent()
const server = await startServer(t, { agents: [gated.agent], env: { DEFAULT_AGENT: 'echo', MAX_CONNECTIONS_PER_USER: 64 } })
const { storage, engine, gateway } = server.app

// Kill: leave `require` of the named threads out of `identityOfCommand` in lib/gateway/identity-of-command.ts.
t.test('E61 a message that names a thread of another user is not found, and neither another thread nor a new one receives it', async (t) => {
  const [own, foreign] = [await server.thread('e61-anna'), await server.thread('e61-ben')]
  const [bound, unbound] = [await server.connect('e61-anna', { thread: own }), await server.connect('e61-anna')]

  for (const socket of [bound, unbound]) {
    for (const thread of [foreign, newThreadId()]) {
      const refused = await socket.ask({ type: 'user_message', thread_id: thread, payload: { content: 'for whom?' } })
      t.match(refused, { type: 'error', thread_id: null, run_id: undefined, payload: { code: 'THREADLINE_THREAD_NOT_FOUND' } })
    }
    t.equal(socket.ofType('thread_created').length, 0)
  }

  t.match(await listOf('e61-anna'), { total: 1, threads: [{ thread_id: own }] })
  for (const [user, thread] of [['e61-anna', own], ['e61-ben', foreign]] as const) {
    t.strictSame(await readThread(storage, user, thread), { messages: [], runs: [], events: [] })
  }
  t.equal(server.violations.length, 0)
})

t.test('E62 create_thread answers with the id of a new thread, which is the user\'s own and listed first', async (t) => {
  const old = await server.thread('e62-anna', 'The old one')
  const [socket, tab, stranger] = [await server.connect('e62-anna', { thread: old }), await server.connect('e62-anna'), await server.connect('e62-ben')]

  const created = await socket.ask({ type: 'create_thread', payload: { title: 'The new one', metadata: { colour: 'green' } } })

  const thread = (created as ServerEvent<'thread_created'>).payload
  t.match(created, { type: 'thread_created', user_id: 'e62-anna', payload: { title: 'The new one', metadata: { colour: 'green' }, archived_at: null, deleted_at: null } })
  t.not(thread.thread_id, old)
  t.match(await listOf('e62-anna'), { total: 2, threads: [{ thread_id: thread.thread_id }, { thread_id: old }] })
  t.match(await tab.until('thread_created'), { user_id: 'e62-anna', thread_id: null, payload: thread }, 'the other tab is told')
  t.equal((await stranger.settled()).length, 2, 'and nobody else')
  t.match(await listOf('e62-ben'), { total: 0, threads: [] })
  const seen = await stranger.ask({ type: 'get_thread', payload: { thread_id: thread.thread_id } })
  t.match(seen, { type: 'error', payload: { code: 'THREADLINE_THREAD_NOT_FOUND' } })
  t.match(await socket.chat('where am I?'), { thread_id: old }, 'the connection stays in its own')
})

// Kill: order by `created_at`, or leave the user out of the list, in lib/storage/thread-list.ts.
t.test('E63 of 25 threads, limit 10 and offset 10 give the second ten, newest first, and only the user\'s own', async (t) => {
  const socket = await server.connect('e63-anna')
  const other = await server.connect('e63-ben')
  const made: string[] = []
  for (let nth = 0; nth < 25; nth += 1) {
    const created = await socket.ask({ type: 'create_thread', payload: { title: `Anna's ${nth}` } })
    if (nth % 5 === 0) await other.ask({ type: 'create_thread', payload: { title: `Ben's ${nth}` } })
    made.unshift((created as ServerEvent<'thread_created'>).payload.thread_id)
  }

  const second = await listOf('e63-anna', { limit: 10, offset: 10 })
  const pages: string[][] = []
  for (let cursor: string | null | undefined; cursor !== null;) {
    const page = await listOf('e63-anna', { limit: 10, ...(cursor === undefined ? {} : { cursor }) })
    pages.push(page.threads.map(({ thread_id: id }) => id))
    cursor = page.next_cursor
  }
  const written = made[24] ?? ''
  await socket.ask({ type: 'user_message', thread_id: written, payload: { content: 'news in the oldest' } })
  const afterwards = await listOf('e63-anna', { limit: 2 })

  t.strictSame(second.threads.map(({ thread_id: id }) => id), made.slice(10, 20))
  t.match(second, { total: 25, limit: 10, offset: 10 })
  t.ok(second.threads.every(({ title }) => title?.startsWith('Anna')))
  t.strictSame(pages, [made.slice(0, 10), made.slice(10, 20), made.slice(20)], 'and so do cursors')
  t.strictSame(afterwards.threads.map(({ thread_id: id }) => id), [written, made[0]], 'the newest is the one that was last written to')
})

t.test('E64 a deleted thread is not listed, and its history is intact for its owner after recovery', async (t) => {
  const [kept, thread] = [await server.thread('e64-anna'), await server.thread('e64-anna', 'Taken for rubbish')]
  const [socket, tab] = [await server.connect('e64-anna', { thread }), await server.connect('e64-anna')]
  await socket.chat('worth keeping')
  await socket.chat('and this as well')
  const before = await readThread(storage, 'e64-anna', thread)

  await socket.ask({ type: 'delete_thread', payload: { thread_id: thread } })
  const whileDeleted = {
    active: await listOf('e64-anna'), archived: await listOf('e64-anna', { state: 'archived' }), deleted: await listOf('e64-anna', { state: 'deleted' }),
    history: await socket.ask({ type: 'get_thread_history', thread_id: thread, payload: {} }),
    search: await socket.ask({ type: 'search_threads', payload: { query: 'keeping' } }),
    stranger: await (await server.connect('e64-ben')).ask({ type: 'restore_thread', payload: { thread_id: thread } })
  }
  const restored = await socket.ask({ type: 'restore_thread', payload: { thread_id: thread } })
  const history = await socket.ask({ type: 'get_thread_history', thread_id: thread, payload: {} })

  t.strictSame(whileDeleted.active.threads.map(({ thread_id: id }) => id), [kept])
  t.same(whileDeleted.archived.threads, [])
  t.match(whileDeleted.deleted.threads, [{ thread_id: thread, title: 'Taken for rubbish', deleted_at: /^\d{4}-.*Z$/ }])
  t.match(whileDeleted.history, { type: 'error', payload: { code: 'THREADLINE_THREAD_NOT_FOUND' } })
  t.match(whileDeleted.search.payload, { results: [] })
  t.match(whileDeleted.stranger, { type: 'error', payload: { code: 'THREADLINE_THREAD_NOT_FOUND' } }, 'nobody else can bring it back')
  t.match(restored, { type: 'thread_updated', payload: { thread_id: thread, title: 'Taken for rubbish', deleted_at: null } })
  t.strictSame((history as ServerEvent<'thread_history'>).payload.messages, before.messages)
  t.strictSame(await readThread(storage, 'e64-anna', thread), before)
  t.equal(before.messages.length, 4)
  t.match(await tab.until('thread_deleted'), { payload: { thread_id: thread } })
  t.match(await tab.until('thread_updated', ({ payload }) => payload.thread_id === thread), { payload: { deleted_at: null } })
  await socket.ask({ type: 'switch_thread', payload: { thread_id: thread } })
  t.match(await socket.chat('as if nothing had happened'), { thread_id: thread, payload: { status: 'completed' } })
})

// Kill: no `endRuns` in `removeThread` of lib/storage/remove-thread.ts, but the runs set to `cancelled`.
t.test('E64 a message that comes while its thread is being deleted is stopped with it, and its run has one end after recovery', async (t) => {
  const thread = await server.thread('e64-carol')
  const [socket, tab] = [await server.connect('e64-carol', { thread }), await server.connect('e64-carol', { thread })]
  const stop: Engine['stop'] = async (request) => {
    const stopped = await engine.stop(request)
    await tab.ask({ type: 'user_message', payload: { content: 'e64 late', agent: 'gated' } })
    await tab.ask({ type: 'user_message', payload: { content: 'e64 later', agent: 'gated' } })
    await gated.arrived.next((content) => content === 'e64 late')
    return stopped
  }
  const own = await startGateway(t, server, { tools: { engine: { ...engine, stop } } })
  const deleting = await own.connect('e64-carol', { thread })

  await deleting.ask({ type: 'delete_thread', payload: { thread_id: thread } })
  await socket.ask({ type: 'restore_thread', payload: { thread_id: thread } })
  gated.open('e64 late')
  await untilSessions(engine, 0)

  const { runs, events } = await readThread(storage, 'e64-carol', thread)
  const ends = events.filter(({ type }) => type === 'agent_completed')
  t.same(runs.map(({ status, input }) => [input, status]), [['e64 later', 'cancelled'], ['e64 late', 'cancelled']])
  t.same(ends.map(({ run_id: runId }) => runId), runs.map(({ runId }) => runId).toReversed())
  t.same(events.map(({ sequence }) => sequence), events.map((_event, index) => index + 1))
})

t.test('E65 delete_thread, rename_thread and every other change of another user\'s thread are not found, and change nothing', async (t) => {
  const foreign = await server.thread('e65-ben', 'Ben\'s own')
  const owner = await server.connect('e65-ben', { thread: foreign })
  await owner.chat('as it was')
  const before = { list: await listOf('e65-ben'), thread: await readThread(storage, 'e65-ben', foreign) }
  const socket = await server.connect('e65-anna')
  const heard = (await owner.settled()).length

  for (const [type, more] of [
    ['delete_thread', {}], ['rename_thread', { title: 'Anna\'s now' }], ['update_thread', { metadata: { owner: 'anna' } }],
    ['archive_thread', {}], ['restore_thread', {}], ['fork_thread', {}]
  ] as const) {
    const answers = []
    for (const thread of [foreign, newThreadId()]) answers.push((await socket.ask({ type, payload: { thread_id: thread, ...more } })).payload)
    t.match(answers, [{ code: 'THREADLINE_THREAD_NOT_FOUND' }, { code: 'THREADLINE_THREAD_NOT_FOUND' }], type)
    t.strictSame(answers[0], answers[1])
  }

  t.strictSame({ list: await listOf('e65-ben'), thread: await readThread(storage, 'e65-ben', foreign) }, before)
  t.equal((await owner.settled()).length, heard + 1)
  t.match(await listOf('e65-anna'), { total: 0 })
})

t.test('E66 get_thread_history without a limit gives at most 50 messages in order, each with id, role, content and time', async (t) => {
  const thread = await server.thread('e66-anna')
  const socket = await server.connect('e66-anna', { thread })
  for (let nth = 0; nth < 26; nth += 1) await socket.chat(`message ${nth}`)

  const newest = (await socket.ask({ type: 'get_thread_history', payload: {} }) as ServerEvent<'thread_history'>).payload
  const [first] = newest.messages
  const rest = (await socket.ask({ type: 'get_thread_history', payload: { before: first?.message_id } }) as ServerEvent<'thread_history'>).payload

  t.equal(newest.messages.length, 50)
  t.equal(newest.has_more, true)
  t.equal(rest.messages.length, 2)
  t.equal(rest.has_more, false)
  const all: readonly MessageView[] = [...rest.messages, ...newest.messages]
  for (const [nth, message] of all.entries()) {
    const said = `message ${Math.floor(nth / 2)}`
    t.match(message, { role: nth % 2 === 0 ? 'user' : 'assistant', thread_id: thread, created_at: /^\d{4}-\d\d-\d\dT[\d:.]+Z$/ })
    t.ok(message.content.endsWith(said), `${message.role}: ${said}`)
    t.equal(message.parent_id, all[nth - 1]?.message_id ?? null)
  }
  t.equal(new Set(all.map(({ message_id: id }) => id)).size, 52)
  const times = all.map(({ created_at: time }) => Date.parse(time))
  t.strictSame(times, times.toSorted((one, other) => one - other))
})

t.test('E67 a thread that is used again in another session is the same thread, and the run is a new one', async (t) => {
  const first = await server.connect('e67-anna')
  const accepted = await first.ask({ type: 'user_message', payload: { content: 'in the first session' } })
  await first.until('agent_completed')
  await first.close()
  const thread = toThreadId(accepted.thread_id)

  const second = await server.connect('e67-anna', { thread })
  const completed = await second.chat('in the second')

  t.equal(completed.thread_id, thread)
  t.not(completed.run_id, accepted.run_id)
  t.equal(threadOfRun(toRunId(completed.run_id)), thread)
  const { messages, runs } = await readThread(storage, 'e67-anna', thread)
  t.same(messages.filter(({ role }) => role === 'user').map(({ content }) => content), ['in the first session', 'in the second'])
  t.strictSame(runs.map(({ runId }) => runId), [completed.run_id, accepted.run_id])
  t.match(await listOf('e67-anna'), { total: 1 })
})

t.test('E70 of ten messages into one thread at the same time exactly ten are stored, none of them in another thread', async (t) => {
  const [thread, other] = [await server.thread('e70-anna'), await server.thread('e70-anna')]
  const sockets = await Promise.all(Array.from({ length: 10 }, (_item, nth) => server.connect('e70-anna', { thread: nth % 2 === 0 ? thread : other })))

  const accepted = await Promise.all(sockets.map((socket, nth) => socket.ask({
    type: 'user_message', ...(nth % 2 === 0 ? {} : { thread_id: thread }), payload: { content: `message ${nth}` }
  })))
  for (const { run_id: runId } of accepted) await endOfRun(server.app, 'e70-anna', toRunId(runId))

  t.same(new Set(accepted.map(({ type, thread_id: id }) => `${type} ${id}`)), new Set([`message_accepted ${thread}`]))
  const { messages, runs } = await readThread(storage, 'e70-anna', thread)
  const said = messages.filter(({ role }) => role === 'user').map(({ content }) => content)
  t.strictSame(said.toSorted(), Array.from({ length: 10 }, (_item, nth) => `message ${nth}`))
  t.equal(messages.length, 20, 'each is answered')
  t.same(new Set(runs.map(({ runId }) => runId)), new Set(accepted.map(({ run_id: runId }) => runId)))
  t.ok(runs.every(({ status }) => status === 'completed'))
  t.strictSame(await readThread(storage, 'e70-anna', other), { messages: [], runs: [], events: [] })
  t.match(await listOf('e70-anna'), { total: 2 })
})

t.test('E71 stop_agent stops only the run of this user and thread, which tells its end, and the runs of other threads go on', async (t) => {
  const chats = await Promise.all([['e71-anna', 'stopped'], ['e71-anna', 'untouched'], ['e71-ben', 'foreign']].map(async ([user = '', content = '']) => {
    const thread = await server.thread(user)
    const socket = await server.connect(user, { thread })
    const accepted = await socket.ask({ type: 'user_message', payload: { content: `e71 ${content}`, agent: 'gated' } })
    await gated.arrived.next((arrived) => arrived === `e71 ${content}`)
    return { user, content, thread, socket, runId: toRunId(accepted.run_id) }
  }))
  const [stopped, untouched, foreign] = chats
  if (stopped === undefined || untouched === undefined || foreign === undefined) throw new Error('Three chats')

  const refused = await stopped.socket.ask({ type: 'stop_agent', payload: { run_id: foreign.runId } })
  const answer = await stopped.socket.ask({ type: 'stop_agent', payload: { run_id: stopped.runId } })
  const end = await stopped.socket.until('agent_completed')
  const goingOn = await Promise.all([untouched, foreign].map(({ user, runId }) => actingAs(user, () => storage.runs.require(runId))))
  for (const { content } of [untouched, foreign]) gated.open(`e71 ${content}`)
  const others = await Promise.all([untouched, foreign].map(({ socket }) => socket.until('agent_completed')))

  t.match(refused, { type: 'error', payload: { code: 'THREADLINE_RUN_NOT_FOUND' } })
  t.match(answer, { type: 'runs_stopping', payload: { run_ids: [stopped.runId] } })
  t.match(end, { thread_id: stopped.thread, run_id: stopped.runId, payload: { status: 'cancelled', reason: 'cancelled' } })
  t.same(goingOn.map(({ status }) => status), ['running', 'running'])
  t.match(others, [
    { thread_id: untouched.thread, payload: { status: 'completed', content: 'e71 untouched' } },
    { thread_id: foreign.thread, payload: { status: 'completed', content: 'e71 foreign' } }
  ])
  for (const { user, thread, socket, runId } of chats) {
    t.equal((await socket.settled()).filter(({ type }) => type === 'agent_completed').length, 1)
    t.same(strangers(socket.events, { user, threads: [thread], runs: [runId] }), [])
  }
})

t.test('E72 a run whose socket is gone hinders no other thread, and leaves no state once it is over', async (t) => {
  await untilSessions(engine, 0)
  const before = { engine: engine.load, gateway: gateway.load }
  const abandoned = await server.thread('e72-anna')
  const gone = await server.connect('e72-anna', { thread: abandoned })
  const accepted = await gone.ask({ type: 'user_message', payload: { content: 'e72', agent: 'gated' } })
  await gated.arrived.next((arrived) => arrived === 'e72')

  gone.drop()
  const others = await Promise.all([['e72-anna'], ['e72-ben'], ['e72-ben']].map(async ([user = '']) => {
    const socket = await server.connect(user, { thread: await server.thread(user) })
    const completed = await socket.chat('I go on')
    await socket.close()
    return completed
  }))
  await untilSessions(engine, before.engine.sessions + 1)
  const whileAbandoned = engine.load
  gated.open('e72')
  const end = await endOfRun(server.app, 'e72-anna', toRunId(accepted.run_id))
  await untilSessions(engine, before.engine.sessions)
  while (gateway.load.connections > before.gateway.connections) await turn()

  t.ok(others.every(({ payload }) => payload.status === 'completed'))
  t.match(whileAbandoned, { slotsTaken: before.engine.slotsTaken + 1, waiting: 0 }, 'only the abandoned one is left')
  t.match(end, { thread_id: abandoned, payload: { status: 'completed' } })
  t.strictSame(engine.load, before.engine)
  t.match(gateway.load, { connections: before.gateway.connections, followedThreads: before.gateway.followedThreads })
  const stored = await readThread(storage, 'e72-anna', abandoned)
  t.match(stored.runs, [{ status: 'completed' }])
  t.equal(stored.events.filter(({ type }) => type === 'agent_completed').length, 1)
  t.equal(server.violations.length, 0)
})

async function listOf (user: string, payload: Readonly<Record<string, unknown>> = {}): Promise<PayloadOf<'thread_list'>> {
  const socket: TestSocket = await server.connect(user)
  const list = await socket.ask({ type: 'list_threads', payload })
  await socket.close()
  return (list as ServerEvent<'thread_list'>).payload
}
