import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { defineAgent } from '../../lib/agents/define-agent.ts'
import { attributes } from '../../lib/context/attributes.ts'
import type { ServerEvent } from '../../lib/protocol/events.ts'
import { newThreadId, toRunId, type ThreadId } from '../../lib/protocol/ids.ts'
import { clientOf, following, seenIn, sequencesOf, type Seen } from '../support/coming-back.ts'
import { createPatientAgent, untilWaiting } from '../support/patient-agent.ts'
import { endOfRun } from '../support/run-end.ts'
import { startGateway } from '../support/start-gateway.ts'
import { startServer } from '../support/start-server.ts'
import { asUser, readThread } from '../support/stored-thread.ts'
import type { TestSocket } from '../support/test-socket.ts'
import { hopOf, traceIdOf } from '../support/trace-of.ts'

/** Tells as many thoughts as its message says, each with as many characters. */
const talker = defineAgent({
  name: 'talker',
  async * run ({ content, signal }) {
    const [thoughts = 0, characters = 1] = content.split('x').map(Number)
    for (let thought = 0; thought < thoughts && !signal.aborted; thought += 1) {
      yield { type: 'thinking', message: String(thought).padEnd(characters, '.') }
    }
    yield { type: 'text', text: 'done' }
  }
})
/** Events of a run of the talker, beside its thoughts: its start, that it reads, its text, and its end. */
const around = 4

const patient = createPatientAgent()
const server = await startServer(t, { agents: [talker, patient.agent], env: { MAX_CONNECTIONS_PER_USER: 100 } })
const { storage } = server.app
const { epoch } = storage

/** A thread that has told so many thoughts. */
async function toldThread (user: string, content: string): Promise<ThreadId> {
  const thread = await server.thread(user)
  const socket = await server.connect(user, { thread })
  await socket.chat(content, { agent: 'talker' })
  await socket.close()
  return thread
}

/** A thread in which a run waits, and what a socket in it has seen until then. */
async function waitingThread (user: string, content = user) {
  const thread = await server.thread(user)
  const socket = await server.connect(user, { thread })
  const accepted = await socket.ask({ type: 'user_message', payload: { content, agent: 'patient' } })
  await untilWaiting(socket, accepted.run_id)
  return { thread, socket, runId: toRunId(accepted.run_id), seen: seenIn(socket.events, { after: 0, epoch }) }
}

/** More than a socket's buffers hold, of bob. */
const long = await toldThread('bob', '300x50000')
const inLong = 300 + around

const replayedIn = (events: readonly ServerEvent[]): readonly ServerEvent[] => events.filter((event) => event.replayed === true)

/** An answer without what differs in every answer. */
function comparable ({ event_id: _event, request_id: _request, timestamp: _time, reply_to: _reply, traceparent: _trace, ...rest }: ServerEvent) {
  return rest
}

t.test('G90 what five events told to nobody arrives in order and marked as replayed, and later events are not', async (t) => {
  const { thread, socket, runId, seen } = await waitingThread('alice')
  const { comeBack } = await clientOf(t, server, 'alice')
  await socket.close()
  patient.open('alice')
  await endOfRun(server.app, 'alice', runId)

  const back = await comeBack(thread, seen)
  const resumed = await back.until('resumed')
  const untilThen = back.events.slice(0, back.events.indexOf(resumed))
  const later = back.events.length
  await back.chat('2', { agent: 'talker' })

  t.equal(untilThen[0]?.type, 'connection_established')
  t.match(untilThen[0]?.payload, { thread_id: thread, sequence: seen.after + 5, epoch })
  t.same(sequencesOf(untilThen), following(seen.after, 5))
  t.ok(untilThen.slice(1).every((event) => event.replayed === true && event.run_id === runId && event.epoch === epoch))
  t.match(resumed.payload, { after: seen.after, replayed: 5, sequence: seen.after + 5, epoch, active_runs: [] })
  t.same(sequencesOf(back.events.slice(later)), following(seen.after + 5, 2 + around))
  t.same(replayedIn(back.events.slice(later)), [])
  const { events } = await readThread(storage, 'alice', thread)
  t.same(untilThen.slice(1).map(({ replayed: _replayed, ...event }) => event), events.slice(seen.after, seen.after + 5), 'nothing else is changed')
})

t.test('G91 a socket that is cut off in the middle of the replay gets the rest when it comes back; none lost, none doubled', async (t) => {
  const { comeBack } = await clientOf(t, server, 'bob')
  const received: number[] = []
  let seen: Seen = { after: 0, epoch }

  for (const events of [1, 90, 1, 120]) {
    const socket = await comeBack(long, seen)
    const cut = seen.after + events
    await socket.next((event) => event.sequence === cut)
    socket.drop()
    await socket.closed
    t.same(socket.ofType('resumed'), [], 'it was cut off before the end')
    received.push(...sequencesOf(replayedIn(socket.events)))
    seen = seenIn(socket.events, seen)
  }
  const last = await comeBack(long, seen)
  const resumed = await last.until('resumed')
  received.push(...sequencesOf(replayedIn(last.events)))

  t.same(received, following(0, inLong))
  t.match(resumed.payload, { after: seen.after, replayed: inLong - seen.after, sequence: inLong })
  t.same(server.log.filter(({ level, user_id: userId }) => level >= 50 && userId === 'bob'), [])
})

t.test('G92 what one thread has told does not appear when its user comes back into another one', async (t) => {
  const [first, second] = [await toldThread('carol', '5'), await toldThread('carol', '3')]
  const { comeBack } = await clientOf(t, server, 'carol')

  const socket = await comeBack(second, { after: 2, epoch })
  await socket.until('resumed')
  await socket.settled()

  t.same(sequencesOf(socket.events), following(2, 3 + around - 2))
  t.same(socket.events.filter((event) => event.thread_id === first), [])
})

t.test('E58 a run goes on when its only socket is gone, and says what it said when the user comes back', async (t) => {
  const { thread, socket, runId, seen } = await waitingThread('dave')
  const { comeBack } = await clientOf(t, server, 'dave')
  socket.drop()
  await socket.closed
  const running = await asUser('dave', async () => await storage.runs.require(runId))
  const back = await comeBack(thread, seen)
  patient.open('dave')
  const completed = await back.until('agent_completed')

  t.equal(running.status, 'running')
  t.match(completed, { run_id: runId, payload: { status: 'completed', content: 'first last' } })
  t.same(sequencesOf(back.events), following(seen.after, 5))
})

t.test('a reload in the middle of a run shows its text so far, and the rest follows', async (t) => {
  const { thread, socket, runId, seen } = await waitingThread('erin')
  const { comeBack } = await clientOf(t, server, 'erin')
  socket.drop()

  const reloaded = await comeBack(thread)
  const resumed = await comeBack(thread, seen)
  const switched = await server.connect('erin')
  const answer = await switched.ask({ type: 'switch_thread', payload: { thread_id: thread } })
  const [established, caughtUp] = [await reloaded.until('connection_established'), await resumed.until('resumed')]
  patient.open('erin')

  const run = { run_id: runId, agent: 'patient', status: 'running', text: 'first ' }
  for (const [at, tab] of [[established, reloaded], [caughtUp, resumed], [answer, switched]] as const) {
    t.match(at.payload, { active_runs: [run], sequence: seen.after })
    const { payload } = await tab.until('agent_completed')
    const text = tab.ofType('agent_delta').map((event) => event.payload.text).join('')
    t.equal(`first ${text}`, payload.content)
  }
})

t.test('the command resume puts the connection into the thread, and replays only what this connection was not sent', async (t) => {
  const { thread, runId, seen } = await waitingThread('frank')
  const { comeBack } = await clientOf(t, server, 'frank')
  const socket = await comeBack(await server.thread('frank'))

  const resumed = await socket.ask({ type: 'resume', thread_id: thread, payload: { after: 2, epoch } })
  const again = await socket.ask({ type: 'resume', payload: { after: 2, epoch } })
  const further = await socket.ask({ type: 'resume', payload: { after: 1, epoch } })
  patient.open('frank')
  await socket.until('agent_completed')
  const late = await socket.ask({ type: 'resume', payload: { after: 0, epoch } })
  await socket.ask({ type: 'resume', payload: { after: 0, epoch } })

  t.match(resumed, { type: 'resumed', thread_id: thread, payload: { after: 2, replayed: 2, sequence: 4, active_runs: [{ run_id: runId }] } })
  t.match(again, { type: 'resumed', payload: { after: 2, replayed: 0, sequence: 4 } })
  t.match(further, { type: 'resumed', payload: { after: 1, replayed: 1, sequence: 4 } })
  t.match(late, { type: 'resumed', payload: { after: 0, replayed: 1, sequence: seen.after + 5, active_runs: [] } })
  t.same(sequencesOf(socket.events), [3, 4, 2, 5, 6, 7, 8, 9, 1])
  t.same(sequencesOf(replayedIn(socket.events)), [3, 4, 2, 1])
})

t.test('a position that cannot be resumed is answered with how the thread stands, and live events follow', async (t) => {
  const { thread, runId, seen } = await waitingThread('grace')
  const { comeBack } = await clientOf(t, server, 'grace')
  const positions = [
    [{ after: 1, epoch: 'another' }, 'epoch_changed'], [{ after: seen.after + 1, epoch }, 'position_unknown']
  ] as const
  const sockets: TestSocket[] = []

  for (const [position, reason] of positions) {
    const [atOnce, later] = [await comeBack(thread, position), await comeBack(await server.thread('grace'))]
    const told = await atOnce.until('resync_required')
    const answered = await later.ask({ type: 'resume', thread_id: thread, payload: position })
    t.equal(answered.type, 'resync_required')
    for (const { thread_id: threadId, payload } of [told, answered]) {
      t.equal(threadId, thread)
      t.match(payload, {
        reason, thread: { thread_id: thread }, messages: [{ role: 'user', content: 'grace' }], has_more: false,
        sequence: seen.after, epoch, active_runs: [{ run_id: runId, status: 'running', text: 'first ' }]
      })
    }
    sockets.push(atOnce, later)
  }
  patient.open('grace')

  for (const socket of sockets) {
    await socket.until('agent_completed')
    t.same(sequencesOf(socket.events), following(seen.after, 5))
    t.same(replayedIn(socket.events), [])
  }
})

// kill: the `require` of `preHandler` in routes/socket.ts.
t.test('K132 another user\'s thread cannot be resumed, and is answered like one that does not exist', async (t) => {
  const thread = await toldThread('heidi', '5')
  const unknown = newThreadId()
  const { open, comeBack } = await clientOf(t, server, 'mallory')
  const own = await server.thread('mallory')
  const socket = await comeBack(own)

  const refusals = await Promise.all([thread, unknown].map(async (thread_id) => await open({ thread_id, after: 0, epoch })))
  const answers: ServerEvent[] = []
  for (const thread_id of [thread, unknown]) answers.push(await socket.ask({ type: 'resume', thread_id, payload: { after: 0, epoch } }))

  const [foreign, absent] = refusals.map((refusal) => JSON.stringify(refusal).replace(/"request_id":"[^"]*"/, ''))
  t.match(refusals[0], { status: 404, body: { error: { code: 'THREADLINE_THREAD_NOT_FOUND' } } })
  t.equal(foreign, absent)
  const [foreignAnswer, absentAnswer] = answers.map(comparable)
  t.match(foreignAnswer, { type: 'error', user_id: 'mallory', payload: { code: 'THREADLINE_THREAD_NOT_FOUND' } })
  t.same(foreignAnswer, absentAnswer)
  t.same(sequencesOf(await socket.settled()), [])
  const completed = await socket.chat('1', { agent: 'talker' })
  t.equal(completed.thread_id, own, 'the connection has stayed where it was')
  t.same(server.violations, [])
})

t.test('a handshake that names half a position, or one of no thread, is refused before the upgrade', async (t) => {
  const { open } = await clientOf(t, server, 'ivan')
  const thread = await server.thread('ivan')
  const handshakes = [
    { thread_id: thread, after: 1 }, { thread_id: thread, epoch }, { after: 1, epoch },
    { thread_id: thread, after: -1, epoch }, { thread_id: thread, after: 1.5, epoch }, { thread_id: thread, after: 'x', epoch }
  ]

  for (const handshake of handshakes) {
    t.match(await open(handshake), { status: 400, body: { error: { code: 'THREADLINE_BAD_REQUEST' } } }, JSON.stringify(handshake))
  }
  const socket = await server.connect('ivan')
  t.match(await socket.ask({ type: 'resume', payload: { after: 1, epoch } }), { type: 'error', payload: { code: 'THREADLINE_THREAD_REQUIRED' } })
  t.match(await socket.ask({ type: 'resume', thread_id: thread, payload: { after: 1 } }), { type: 'error', payload: { code: 'THREADLINE_BAD_REQUEST' } })
})

t.test('E59 a connection that enters threads and resumes without waiting for the answers ends where it asked last', async (t) => {
  const [busy, quiet] = [await toldThread('judy', '40'), await server.thread('judy')]
  const { comeBack } = await clientOf(t, server, 'judy')
  const other = await comeBack(busy)
  const socket = await comeBack(quiet)
  const run = other.chat('60', { agent: 'talker' })

  for (let round = 0; round < 5; round += 1) {
    socket.send({ type: 'switch_thread', payload: { thread_id: busy } })
    socket.send({ type: 'resume', payload: { after: 10, epoch } })
    socket.send({ type: 'resume', thread_id: quiet, payload: { after: 0, epoch } })
  }
  const from = socket.events.length
  const resumed = await socket.ask({ type: 'resume', thread_id: busy, payload: { after: 0, epoch } })
  await run
  await socket.next((event) => event.sequence === 40 + around + 60 + around, from)
  const events = await socket.settled()

  t.equal(resumed.type, 'resumed')
  const asked = events.findLastIndex((event) => event.type === 'resumed' && event.thread_id === quiet)
  t.same(sequencesOf(events.slice(asked)), following(0, 40 + around + 60 + around))
  t.equal(events.filter((event) => event.type === 'error').length, 0)
})

t.test('G99 a socket that is dropped while it resumes leaves nothing behind', async (t) => {
  const { gateway, connect } = await startGateway(t, server)

  for (const way of ['handshake', 'command']) {
    const socket = await connect('bob', { thread: long, ...(way === 'handshake' ? { position: { after: 0, epoch } } : {}) })
    if (way === 'command') socket.send({ type: 'resume', payload: { after: 0, epoch } })
    await socket.next((event) => event.sequence === 1)
    socket.raw.pause()
    await turn()
    t.match(gateway.load, { connections: 1, users: 1, followedThreads: 1 })
    socket.drop()
    while (gateway.load.connections > 0 || gateway.load.followedThreads > 0) await turn()
    t.match(gateway.load, { connections: 0, users: 0, followedThreads: 0 })
  }
})

// kill: let `drained` of lib/gateway/replay.ts return at once; or let `holdBack` of lib/gateway/connection.ts answer false.
t.test('G93 a long absence does not overflow a client that stops reading for a while, and what is told meanwhile waits', async (t) => {
  const { connect, newest } = await startGateway(t, server, { limits: { maxOutboxBytes: 100_000 } })
  const other = await server.connect('bob', { thread: long })
  const socket = await connect('bob', { thread: long, position: { after: 0, epoch } })
  await socket.next(({ sequence }) => sequence === 1)
  socket.raw.pause()

  while (newest().bufferedAmount === 0) await turn()
  const received = sequencesOf(socket.events).length
  await other.chat('2', { agent: 'talker' })
  socket.raw.resume()
  const resumed = await socket.until('resumed')
  await socket.until('agent_completed', ({ replayed }) => replayed === undefined)

  t.ok(received < inLong, 'it stood in the middle')
  t.match(resumed.payload, { replayed: inLong, sequence: inLong })
  t.same(sequencesOf(socket.events), following(0, inLong + 2 + around))
  const live = socket.events.slice(socket.events.indexOf(resumed))
  t.same(sequencesOf(live), following(inLong, 2 + around))
  t.same(replayedIn(live), [])
  await other.close()
})

t.test('E64 a thread that is deleted while a connection resumes it tells nothing more, and the connection goes on without it', async (t) => {
  const { connect, newest } = await startGateway(t, server, { limits: { maxOutboxBytes: 100_000 } })
  const thread = await toldThread('bob', '300x50000')

  for (const way of ['handshake', 'command']) {
    const other = await connect('bob')
    const socket = await connect('bob', way === 'handshake' ? { thread, position: { after: 0, epoch } } : {})
    if (way === 'command') socket.send({ type: 'resume', id: 'resuming', thread_id: thread, payload: { after: 0, epoch } })
    await socket.next(({ sequence }) => sequence === 1)
    socket.raw.pause()
    while (newest().bufferedAmount === 0) await turn()
    await other.ask({ type: 'delete_thread', payload: { thread_id: thread } })
    socket.raw.resume()
    const failed = await socket.until('error')
    const told = sequencesOf(await socket.settled())

    t.match(failed.payload, { code: 'THREADLINE_THREAD_NOT_FOUND' })
    t.equal(failed.reply_to, way === 'command' ? 'resuming' : undefined)
    t.ok(told.length < inLong)
    t.same(told, following(0, told.length))
    t.same(socket.ofType('resumed'), [])
    await other.ask({ type: 'restore_thread', payload: { thread_id: thread } })
  }
})

t.test('a replayed event is sent in the name and in the trace of its run, as it was when it was new', async (t) => {
  const thread = await toldThread('leo', '2')
  const { comeBack } = await clientOf(t, server, 'leo')
  const socket = await comeBack(thread, { after: 0, epoch })
  const { payload: { connection_id: connectionId } } = await socket.until('connection_established')
  await socket.until('resumed')
  const events = replayedIn(socket.events)

  const spans = await server.spans.until((all) => {
    const sent = all.filter((span) => hopOf(span) === 'socket.send' && span.attributes[attributes.connectionId] === connectionId && span.attributes[attributes.sequence] !== undefined)
    return sent.length === events.length - 1 ? sent : undefined
  })

  const told = events.filter(({ type }) => type !== 'agent_delta')
  t.same(spans.map((span) => span.attributes[attributes.eventId]), told.map((event) => event.event_id), 'each but the text')
  for (const [index, span] of spans.entries()) {
    const event = told[index]
    t.equal(span.spanContext().traceId, traceIdOf(event ?? {}))
    t.match(span.attributes, {
      [attributes.userId]: 'leo', [attributes.threadId]: thread, [attributes.runId]: event?.run_id, [attributes.requestId]: event?.request_id
    })
  }
})

// Last, because it concerns all threads of the server.
t.test('a position whose events are not kept any more is answered with how the thread stands', async (t) => {
  const thread = await toldThread('nina', '3')
  const { comeBack } = await clientOf(t, server, 'nina')
  await storage.upkeep.purge({ deletedBefore: new Date(0), eventsBefore: new Date(Date.now() + 60_000), limit: 1_000 })

  const expired = await comeBack(thread, { after: 2, epoch })
  const told = await expired.until('resync_required')
  const current = await comeBack(thread, { after: 3 + around, epoch })
  const resumed = await current.until('resumed')
  await expired.chat('1', { agent: 'talker' })

  t.match(told.payload, {
    reason: 'position_expired', sequence: 3 + around, epoch, active_runs: [], messages: [{ role: 'user' }, { role: 'assistant', content: 'done' }]
  })
  t.match(resumed.payload, { replayed: 0, sequence: 3 + around })
  t.same(sequencesOf(expired.events), following(3 + around, 1 + around))
  t.same(server.violations, [])
})
