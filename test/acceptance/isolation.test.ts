import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { attributes } from '../../lib/context/attributes.ts'
import { enterThread } from '../../lib/context/current-thread.ts'
import { createRunIdentity, type RunIdentity } from '../../lib/context/identity.ts'
import { createEmitter } from '../../lib/emitter/emitter.ts'
import { ThreadSessions } from '../../lib/engine/thread-sessions.ts'
import { identityOfEvent } from '../../lib/events/stored-event-log.ts'
import type { Connection } from '../../lib/gateway/connection.ts'
import { createEvent } from '../../lib/gateway/create-event.ts'
import type { NewThreadEvent, ServerEvent, ThreadEvent } from '../../lib/protocol/events.ts'
import { newEventId, newRunId, newThreadId, toRunId, toUserId, type RunId, type ThreadId } from '../../lib/protocol/ids.ts'
import { watchCounters } from '../support/counters.ts'
import { createGatedAgent } from '../support/gated-agent.ts'
import { createMeetingAgents, meetingKinds, type MeetingKind } from '../support/meeting-agents.ts'
import { endOfRun, untilSessions } from '../support/run-end.ts'
import { startServer } from '../support/start-server.ts'
import { asUser, readThread } from '../support/stored-thread.ts'
import { strangers } from '../support/strangers.ts'
import type { Sendable, TestSocket } from '../support/test-socket.ts'

// One server for all: what one case leaves behind must not reach another. Users are named after their case.

const meetings = createMeetingAgents()
const gated = createGatedAgent()
const queued = createGatedAgent('queued')
const server = await startServer(t, { agents: [...meetings.agents, gated.agent, queued.agent] })
const { storage, engine, gateway, eventLog } = server.app

/** Every socket that this file has opened, for the last case. */
const sockets: { readonly user: string, readonly socket: TestSocket }[] = []

async function connect (user: string, thread?: ThreadId): Promise<TestSocket> {
  const socket = await server.connect(user, { thread })
  sockets.push({ user, socket })
  return socket
}

/** One thread of a user, a socket in it, and a message that no other thread may see. */
interface Chat {
  readonly user: string
  readonly thread: ThreadId
  readonly socket: TestSocket
  readonly kind: MeetingKind
  readonly marker: string
}

async function openChat (user: string, kind: MeetingKind = 'code'): Promise<Chat> {
  const thread = await server.thread(user)
  return { user, thread, kind, marker: `marker-${crypto.randomUUID()}`, socket: await connect(user, thread) }
}

/** As many chats for each user as are asked for, over all kinds of agents in turn. */
async function openChats (users: readonly string[], each: number): Promise<readonly Chat[]> {
  const wanted = users.flatMap((user, nth) => Array.from({ length: each }, (_, index) => ({ user, kind: meetingKinds[(nth + index) % 3] })))
  return await Promise.all(wanted.map(({ user, kind }) => openChat(user, kind)))
}

interface Told extends Chat { readonly runId: RunId, readonly completed: ServerEvent<'agent_completed'> }

/** Sends the marker of each chat, so that all their runs are in the middle of their tools at the same time. */
async function meetAll (chats: readonly Chat[], meeting: string): Promise<readonly Told[]> {
  return await Promise.all(chats.map(async (chat) => {
    const { agent, ...more } = meetings.messageFor(chat.kind, { marker: chat.marker, meeting, size: chats.length })
    const { content, metadata } = more
    const completed = await chat.socket.chat(content, { agent, metadata })
    return { ...chat, completed, runId: toRunId(completed.run_id) }
  }))
}

async function lastEvent ({ user, thread }: Chat): Promise<ThreadEvent> {
  const event = (await readThread(storage, user, thread)).events.at(-1)
  if (event === undefined) throw new Error('the thread has no events')
  return event
}

/** The same once more, as if it followed the last one. */
async function eventAfterLast (chat: Chat): Promise<ThreadEvent> {
  const last = await lastEvent(chat)
  return { ...last, sequence: last.sequence + 1 }
}

/** That nothing of any chat is to be found with another one: on its socket, in its thread's rows, where its agent found itself. */
async function checkApart (t: Test, chats: readonly Told[]): Promise<void> {
  for (const { user, thread, socket, marker, runId, completed } of chats) {
    const events = await socket.settled()
    const stored = await readThread(storage, user, thread)
    const sightings = meetings.seen.filter((sighting) => sighting.marker === marker)
    const bytes = JSON.stringify([events, stored])

    t.equal(completed.payload.status, 'completed')
    t.ok(completed.payload.content?.includes(thread), 'its tool found itself in its own thread')
    t.same(strangers(events, { user, threads: [thread], runs: [runId] }), [], `${user} received only its own`)
    t.same(stored.events.filter((event) => event.user_id !== user || event.thread_id !== thread || event.run_id !== runId), [])
    t.same(stored.runs.map((run) => [run.runId, run.userId, run.threadId, run.status]), [[runId, user, thread, 'completed']])
    t.same(stored.messages.map((message) => [message.role, message.thread_id, message.run_id]), [
      ['user', thread, runId], ['assistant', thread, runId]
    ])
    t.ok(sightings.length >= 3)
    t.same(sightings.filter(({ identity }) => {
      return identity.userId !== user || identity.threadId !== thread || identity.runId !== runId
    }), [], 'agent and tool served their own run')
    t.ok(bytes.includes(marker))
    t.same(chats.filter((other) => other.marker !== marker && bytes.includes(other.marker)), [], 'no marker of another chat')
  }
}

t.test('D41 two users with secrets of their own, at work at the same time, leave no trace with each other', async (t) => {
  // kill: make `answer` of executeRun (lib/engine/execute-run.ts) one object of the module
  const chats = await openChats(['d41-anna', 'd41-ben'], 3)

  const told = await meetAll(chats, 'd41')

  await checkApart(t, told)
  t.equal(server.violations.length, 0)
})

t.test('D41 D43 what an agent is given of the conversation is its own thread\'s alone', async (t) => {
  // kill: let `historyOf` of lib/engine/execute-run.ts keep the messages of the first run that asks
  const first = await openChats(['d41-clara', 'd41-david'], 3)
  await meetAll(first, 'd41-history-1')
  const second = first.map((chat) => ({ ...chat, marker: `again-${crypto.randomUUID()}` }))

  await meetAll(second, 'd41-history-2')

  for (const [index, { marker, kind, socket }] of second.entries()) {
    const given = kind === 'model'
      ? (await socket.chat('/history', { agent: 'meeting-model' })).payload.content ?? ''
      : JSON.stringify(meetings.seen.filter((sighting) => sighting.marker === marker).map(({ history }) => history))
    t.ok(given.includes(first[index]?.marker ?? 'none'), 'it was given what had been said')
    t.same(first.filter((other) => other !== first[index] && given.includes(other.marker)), [])
  }
  t.equal(server.violations.length, 0)
})

t.test('D42 five users at once each receive events of their own user, thread and run alone', async (t) => {
  // kill: let createEmitter (lib/emitter/emitter.ts) keep the identity of the first run
  const chats = await openChats(['d42-1', 'd42-2', 'd42-3', 'd42-4', 'd42-5'], 1)

  const told = await meetAll(chats, 'd42')

  await checkApart(t, told)
  t.equal(new Set(told.map(({ runId }) => runId)).size, 5)
  t.equal(server.violations.length, 0)
})

t.test('D43 to another user, finished runs and their thread do not exist, by whatever way they are asked for', async (t) => {
  // kill: let requireThread (lib/storage/thread-store.ts) not throw, or receiveFrame (lib/gateway/receive-frame.ts) not ask whose a thread is
  const chat = await openChat('d43-anna')
  await meetAll([chat], 'd43')
  const { thread } = chat
  const { run_id: runId } = await lastEvent(chat)
  const before = await readThread(storage, 'd43-anna', thread)
  const own = await server.thread('d43-ben')
  const spy = await connect('d43-ben', own)
  const unknown = newThreadId()

  const commands: readonly ((asked: ThreadId) => Sendable)[] = [
    (asked) => ({ type: 'get_thread_history', thread_id: asked, payload: {} }),
    (asked) => ({ type: 'switch_thread', payload: { thread_id: asked } }),
    (asked) => ({ type: 'rename_thread', payload: { thread_id: asked, title: 'mine' } }),
    (asked) => ({ type: 'delete_thread', payload: { thread_id: asked } }),
    (asked) => ({ type: 'stop_agent', thread_id: asked, payload: {} }),
    (asked) => ({ type: 'stop_agent', thread_id: asked, payload: { run_id: runId } }),
    (asked) => ({ type: 'typing', thread_id: asked, payload: {} }),
    (asked) => ({ type: 'user_message', thread_id: asked, payload: { content: 'let me in' } })
  ]
  for (const command of commands) {
    const [foreign, nowhere] = [await spy.ask(command(thread)), await spy.ask(command(unknown))]
    t.equal(foreign.type, 'error')
    t.match(foreign.payload, { code: 'THREADLINE_THREAD_NOT_FOUND' }, command(thread).type)
    t.same(foreign.payload, nowhere.payload, 'a foreign thread is answered like none')
  }
  t.match((await spy.ask({ type: 'stop_agent', payload: { run_id: runId } })).payload, { code: 'THREADLINE_RUN_NOT_FOUND' })
  const page = { before: before.messages[1]?.message_id }
  t.match((await spy.ask({ type: 'get_thread_history', payload: page })).payload, { code: 'THREADLINE_NOT_FOUND' })
  t.match((await spy.ask({ type: 'list_threads', payload: { limit: 100 } })).payload, { total: 1, threads: [{ thread_id: own }] })
  t.match(await server.open('d43-ben', { thread }), { status: 404, body: { error: { code: 'THREADLINE_THREAD_NOT_FOUND' } } })

  const notFound = { code: 'THREADLINE_THREAD_NOT_FOUND' }
  await asUser('d43-ben', async () => {
    await t.rejects(storage.runs.list(thread, { limit: 10 }), notFound)
    await t.rejects(storage.runs.require(runId), { code: 'THREADLINE_RUN_NOT_FOUND' })
    await t.rejects(storage.messages.history(thread, { limit: 10 }), notFound)
    await t.rejects(storage.events.read(thread, 0, 10), notFound)
    await t.rejects(eventLog.read(thread, 0, 10), notFound)
    await t.rejects(storage.threads.state(thread), notFound)
    t.same(await storage.runs.unfinished(thread), [])
    t.equal(await storage.runs.claimNext(thread, { worker: 'a worker', leaseMs: 60_000 }), undefined)
  })
  t.same(await readThread(storage, 'd43-anna', thread), before, 'and nothing has changed')
  t.same(strangers(await spy.settled(), { user: 'd43-ben', threads: [own], runs: [] }), [])
  t.notOk(JSON.stringify(spy.events).includes(chat.marker))
  t.equal(server.violations.length, 0)
})

t.test('D43 a message under the id of another user\'s message is a new message', async (t) => {
  // kill: let acceptRun (lib/handlers/accept-run.ts) keep the first acceptance of a client id
  const [carl, dora] = await Promise.all([openChat('d43-carl'), openChat('d43-dora')])
  const message = { type: 'user_message', id: 'the-same-id', payload: { content: 'the same text', agent: 'echo' } }

  const [first, second] = [await carl.socket.ask(message), await dora.socket.ask(message)]
  await Promise.all([carl, dora].map(({ socket }) => socket.until('agent_completed')))

  t.match([first.payload, second.payload], [{ duplicate: false, run_id: first.run_id }, { duplicate: false, run_id: second.run_id }])
  for (const [{ user, thread, socket }, { run_id: runId }] of [[carl, first], [dora, second]] as const) {
    t.same(strangers(await socket.settled(), { user, threads: [thread], runs: [runId ?? ''] }), [])
    t.equal((await readThread(storage, user, thread)).messages.length, 2)
  }
  t.equal(server.violations.length, 0)
})

t.test('D44 nobody else receives anything of what is sent to one user', async (t) => {
  // kill: let `getUserConnections` of lib/gateway/connection-registry.ts give everybody's
  const anna = await openChat('d44-anna')
  const others = await openChats(['d44-ben', 'd44-carol'], 1)
  const lounges = await Promise.all(others.map(({ user }) => connect(user)))
  const bystanders = [...others.map(({ socket }) => socket), ...lounges]
  const annas = [anna.socket, await connect(anna.user, anna.thread), await connect(anna.user)]
  for (const socket of [...bystanders, ...annas]) await socket.settled()
  const heard = new Map(bystanders.map((socket) => [socket, socket.events.length]))

  const told = await meetAll([anna], 'd44')
  await anna.socket.ask({ type: 'typing', payload: {} })
  await anna.socket.ask({ type: 'rename_thread', payload: { thread_id: anna.thread, title: 'for anna' } })
  const created = await anna.socket.ask({ type: 'create_thread', payload: {} }) as ServerEvent<'thread_created'> // its answer
  await anna.socket.ask({ type: 'switch_thread', payload: { thread_id: created.payload.thread_id } })
  await anna.socket.ask({ type: 'delete_thread', payload: { thread_id: anna.thread } })

  for (const socket of bystanders) {
    const events = await socket.settled()
    t.same(events.slice(heard.get(socket)).map(({ type }) => type), ['pong'], 'nothing but the answer to its own ping')
  }
  const owned = { user: anna.user, threads: [anna.thread, created.payload.thread_id], runs: told.map(({ runId }) => runId) }
  for (const socket of annas) t.same(strangers(await socket.settled(), owned), [])
  t.ok(annas[2]?.ofType('thread_deleted').length, 'anna herself was told, in no thread too')
  t.equal(server.violations.length, 0)
})

t.test('D45 a later user\'s messages are handled by her own connection and in her own context, never in the first one\'s', async (t) => {
  // kill: let receiveFrame (lib/gateway/receive-frame.ts) keep the first handler connection that it makes
  const first = await openChat('d45-first')
  const later = await openChat('d45-later')
  const greeting = await first.socket.chat('I was here first', { agent: 'echo' })
  const both = [first, later]

  const answers = await Promise.all(Array.from({ length: 20 }, async (_, nth) => {
    const { socket, user, thread } = both[nth % 2] ?? first
    if (nth % 5 === 0) await turn()
    const commands: readonly Sendable[] = [
      { type: 'create_thread', payload: { title: `of ${user}` } },
      { type: 'get_thread_history', payload: {} },
      { type: 'typing', payload: {} },
      { type: 'user_message', payload: { content: `from ${user}`, agent: 'echo' } }
    ]
    return { user, thread, socket, answer: await socket.ask(commands[Math.floor(nth / 2) % 4] ?? { type: 'ping', payload: {} }) }
  }))
  const accepted = answers.filter(({ answer }) => answer.type === 'message_accepted')
  await Promise.all(accepted.map(({ socket, answer }) => socket.until('agent_completed', (event) => event.run_id === answer.run_id)))

  t.equal(accepted.length, 4)
  for (const { user, thread, answer } of answers) {
    t.match(answer, { user_id: user, thread_id: thread })
    t.not(answer.type, 'error')
    const hops = server.spans.spans().filter((span) => span.attributes[attributes.requestId] === answer.request_id)
    t.ok(hops.some((span) => span.name === 'handler'))
    t.same(new Set(hops.map((span) => span.attributes[attributes.userId])), new Set([user]))
    t.same(new Set(hops.map((span) => span.attributes[attributes.threadId])), new Set([thread]))
  }
  for (const { user, thread, socket } of both) {
    const other = user === 'd45-first' ? 'd45-later' : 'd45-first'
    const bytes = JSON.stringify([await socket.settled(), await readThread(storage, user, thread)])
    t.notOk(bytes.includes(other))
    const runs = accepted.filter((one) => one.user === user).map(({ answer }) => answer.run_id ?? '')
    t.same(strangers(socket.events, { user, threads: [thread], runs: user === first.user ? [...runs, greeting.run_id ?? ''] : runs }), [])
  }
  t.equal(server.violations.length, 0)
})

t.test('D46 an event of one thread reaches only the tab that is in it', async (t) => {
  // kill: let `getUserConnectionsByThread` of lib/gateway/connection-registry.ts give all of the user's
  const [one, two] = [await openChat('d46-anna', 'code'), await openChat('d46-anna', 'model')]
  await two.socket.settled()
  const heard = two.socket.events.length

  const told = await meetAll([one], 'd46')
  await one.socket.ask({ type: 'typing', payload: {} })
  const named = await two.socket.ask({ type: 'user_message', thread_id: one.thread, payload: { content: 'from the other tab', agent: 'echo' } })
  await one.socket.until('agent_completed', (event) => event.run_id === named.run_id)

  const [inOne, inTwo] = [await one.socket.settled(), await two.socket.settled()]
  t.same(inTwo.slice(heard).map(({ type, thread_id: threadId }) => [type, threadId]), [
    ['message_accepted', one.thread], ['pong', two.thread]
  ], 'the other tab got the answer to its own command, and no event of the thread')
  const runs = [...told.map(({ runId }) => runId), toRunId(named.run_id)]
  t.same(strangers(inOne, { user: 'd46-anna', threads: [one.thread], runs }), [])
  t.same(new Set(one.socket.runEvents.map((event) => event.run_id)), new Set(runs))
  t.equal(server.violations.length, 0)
})

t.test('D47 two sockets in one thread both receive each of its events, once', async (t) => {
  // kill: let `join` of lib/gateway/subscriptions.ts follow the thread anew for each connection
  const chat = await openChat('d47-anna', 'pipeline')
  const second = await connect('d47-anna', chat.thread)

  const [told] = await meetAll([chat], 'd47')
  await second.until('agent_completed')
  await second.ask({ type: 'typing', payload: {} })
  await chat.socket.until('typing')

  const stored = (await readThread(storage, 'd47-anna', chat.thread)).events.map((event) => event.event_id)
  for (const socket of [chat.socket, second]) {
    await socket.settled()
    t.same(socket.runEvents.map((event) => event.event_id), stored, 'every event, once, in the order of the log')
    t.equal(socket.ofType('typing').length, 1)
    t.same(strangers(socket.events, { user: 'd47-anna', threads: [chat.thread], runs: [told?.runId ?? ''] }), [])
  }
  t.equal(server.violations.length, 0)
})

t.test('D48 an event is delivered to the sockets in its thread, and queued where there are none', async (t) => {
  // kill: let `deliver` of lib/gateway/subscriptions.ts answer 'delivered' where nobody is in the thread
  const [full, empty, foreign] = [await openChat('d48-anna', 'code'), await openChat('d48-anna', 'model'), await openChat('d48-ben')]
  await meetAll([full, empty], 'd48')
  await empty.socket.close()
  await full.socket.settled()
  const heard = [full, foreign].map(({ socket }) => socket.events.length)
  const [inFull, inEmpty] = [await eventAfterLast(full), await eventAfterLast(empty)]
  const deliver = (event: ThreadEvent): string => enterThread(identityOfEvent(event), () => gateway.subscriptions.deliver(event))

  const outcomes = [deliver(inFull), deliver(inEmpty)]
  const message = { type: 'user_message', thread_id: empty.thread, payload: { content: 'while nobody is there', agent: 'echo' } }
  const accepted = await full.socket.ask(message)
  await endOfRun(server.app, 'd48-anna', toRunId(accepted.run_id))

  t.same(outcomes, ['delivered', 'queued'])
  t.same((await full.socket.settled()).slice(heard[0]).map(({ type, event_id: id }) => [type, type === 'agent_completed' ? id : '']), [
    ['agent_completed', inFull.event_id], ['message_accepted', ''], ['pong', '']
  ], 'nothing of the empty thread')
  t.same((await foreign.socket.settled()).slice(heard[1]).map(({ type }) => type), ['pong'])
  const waiting = (await readThread(storage, 'd48-anna', empty.thread)).events.filter((event) => event.run_id === accepted.run_id)
  t.equal(waiting.at(-1)?.type, 'agent_completed', 'the whole run waits in the log for whoever comes')
  const switched = await full.socket.ask({ type: 'switch_thread', payload: { thread_id: empty.thread } })
  t.match(switched.payload, { sequence: waiting.at(-1)?.sequence })
  t.ok(JSON.stringify(switched.payload).includes('while nobody is there'))
  t.equal(server.violations.length, 0)
})

t.test('D49 a message that names a sender is refused, and no field makes it another user\'s', async (t) => {
  // kill: let namesSender (lib/protocol/decode-command.ts) find nobody
  const [anna, ben] = [await openChat('d49-anna'), await openChat('d49-ben')]
  const sentBefore = (await ben.socket.settled()).length
  const message = { type: 'user_message', payload: { content: 'as ben', agent: 'echo' } }

  for (const key of ['user_id', 'userId', 'sender', 'sender_id']) {
    const inside = { ...message, payload: { ...message.payload, [key]: ben.user } }
    for (const command of [inside, { ...message, [key]: ben.user }, { ...message, [key]: anna.user }]) {
      t.match((await anna.socket.ask(command)).payload, { code: 'THREADLINE_SENDER_MISMATCH' }, JSON.stringify(command))
    }
  }
  const foreignToken = { type: 'authenticate', payload: { token: await server.token(ben.user) } }
  t.match((await anna.socket.ask(foreignToken)).payload, { code: 'THREADLINE_SENDER_MISMATCH' })
  t.same((await readThread(storage, anna.user, anna.thread)).runs, [], 'nothing was started')

  const accepted = await anna.socket.ask({
    ...message,
    from: ben.user,
    run_id: newRunId(ben.thread),
    request_id: newThreadId(),
    connection_id: ben.socket.ofType('connection_established')[0]?.payload.connection_id,
    baggage: `user.id=${ben.user}`,
    payload: { ...message.payload, metadata: { user_id: ben.user, thread_id: ben.thread } }
  })
  const completed = await anna.socket.until('agent_completed', (event) => event.run_id === accepted.run_id)

  const content = `${anna.user}, in thread ${anna.thread} you said: as ben`
  t.match(completed, { user_id: anna.user, thread_id: anna.thread, payload: { status: 'completed', content } })
  t.same(strangers(await anna.socket.settled(), { user: anna.user, threads: [anna.thread], runs: [accepted.run_id ?? ''] }), [])
  t.same((await ben.socket.settled()).slice(sentBefore).map(({ type }) => type), ['pong'])
  t.same(await readThread(storage, ben.user, ben.thread), { messages: [], runs: [], events: [] })
  t.equal(server.violations.length, 0)
})

t.test('D51 runs in three threads of one user at once tell each event in its own thread', async (t) => {
  // kill: let keyOf (lib/engine/thread-sessions.ts) leave out the thread
  const chats = await openChats(['d51-anna'], 3)

  const told = await meetAll(chats, 'd51')

  await checkApart(t, told)
  t.equal(server.violations.length, 0)
})

t.test('D52 of fifty threads at once, each gets its own marker back and no other', async (t) => {
  // kill: let all emitters (lib/emitter/emitter.ts) share one DeltaBuffer
  const users = Array.from({ length: 10 }, (_, nth) => `d52-${nth}`)
  const chats = await openChats(users, 5)

  const told = await meetAll(chats, 'd52')

  t.equal(told.length, 50)
  await checkApart(t, told)
  t.equal(new Set(told.map(({ runId }) => runId)).size, 50)
  t.equal(server.violations.length, 0)
})

t.test('D53 ten callers at once find one session for one user and thread, and no other\'s', async (t) => {
  // kill: let `obtain` of lib/engine/thread-sessions.ts make a session each time
  const sessions = new ThreadSessions()
  const [first, second] = [newThreadId(), newThreadId()]
  const obtain = (user: string, threadId: ThreadId) => asUser(user, async () => {
    await turn()
    return sessions.obtain()
  }, threadId)

  const found = await Promise.all(Array.from({ length: 10 }, () => obtain('d53-anna', first)))
  const [elsewhere, foreign] = await Promise.all([obtain('d53-anna', second), obtain('d53-ben', first)])

  t.equal(new Set(found).size, 1)
  t.match(found[0], { userId: 'd53-anna', threadId: first })
  t.equal(new Set([found[0], elsewhere, foreign]).size, 3)
  t.equal(sessions.size, 3)
  t.equal(await asUser('d53-ben', async () => sessions.find(), second), undefined)
  t.throws(() => sessions.obtain(), { code: 'THREADLINE_NO_CONTEXT' })
})

t.test('D53 ten messages launched at once into one thread share one session, and run one after the other', async (t) => {
  // kill: let `obtain` of lib/engine/thread-sessions.ts make a session each time
  const thread = await server.thread('d53-carol')
  const tabs = await Promise.all(Array.from({ length: 10 }, () => connect('d53-carol', thread)))

  const accepted = await Promise.all(tabs.map((tab, nth) => {
    return tab.ask({ type: 'user_message', payload: { content: `d53 ${nth}`, agent: 'queued' } })
  }))
  const running = await queued.arrived.next((content) => content.startsWith('d53 '))
  const load = { ...engine.load }
  const stopping = await tabs[0]?.ask({ type: 'stop_agent', payload: { run_id: accepted[Number(running.slice(4))]?.run_id } })
  // The run that is stopped is let go by that alone: a worker on another node hears of it after the answer.
  for (let nth = 0; nth < 10; nth += 1) if (`d53 ${nth}` !== running) queued.open(`d53 ${nth}`)
  const runs = accepted.map((event) => toRunId(event.run_id))
  for (const tab of tabs) await Promise.all(runs.map((runId) => tab.until('agent_completed', (event) => event.run_id === runId)))

  t.same(load, { sessions: 1, runs: 1, slotsTaken: 1, waiting: 0 })
  t.same(stopping?.payload, { run_ids: [accepted[Number(running.slice(4))]?.run_id] }, 'the registry knows the run that is active')
  t.equal(queued.mostAtOnce, 1)
  const { events, runs: rows } = await readThread(storage, 'd53-carol', thread)
  t.equal(rows.length, 10)
  t.same(rows.map((run) => run.status).toSorted(), ['cancelled', ...Array.from({ length: 9 }, () => 'completed')])
  t.same(rows.map((run) => run.attempt), Array.from({ length: 10 }, () => 1), 'each was claimed once')
  t.equal(events.filter((event) => event.type === 'agent_completed').length, 10)
  for (const tab of tabs) {
    t.same(tab.runEvents.map((event) => event.event_id), events.map((event) => event.event_id))
    t.same(strangers(await tab.settled(), { user: 'd53-carol', threads: [thread], runs }), [])
  }
  t.equal(server.violations.length, 0)
})

t.test('D54 the end of one user\'s session leaves another\'s untouched', async (t) => {
  // kill: let `release` of lib/engine/thread-sessions.ts forget all sessions
  const sessions = new ThreadSessions()
  const [annas, bens] = [newThreadId(), newThreadId()]
  await asUser('d54-anna', async () => sessions.obtain(), annas)
  const kept = await asUser('d54-ben', async () => sessions.obtain(), bens)
  kept.requested = true

  await asUser('d54-anna', async () => { sessions.release() }, annas)
  await asUser('d54-anna', async () => { sessions.release() }, bens)

  t.equal(sessions.size, 1)
  t.equal(await asUser('d54-ben', async () => sessions.find(), bens), kept)
  t.equal(kept.requested, true)
})

t.test('D54 a run goes on, and can be stopped, after another user\'s run has ended and she has left', async (t) => {
  // kill: let `release` of lib/engine/thread-sessions.ts forget all sessions
  const [anna, ben] = [await openChat('d54-carol'), await openChat('d54-dan')]
  const start = async ({ socket, user }: Chat): Promise<RunId> => {
    const accepted = await socket.ask({ type: 'user_message', payload: { content: `d54 ${user}`, agent: 'gated' } })
    await gated.arrived.next((content) => content === `d54 ${user}`)
    return toRunId(accepted.run_id)
  }
  const [hers, his] = [await start(anna), await start(ben)]

  gated.open(`d54 ${anna.user}`)
  await anna.socket.until('agent_completed', (event) => event.run_id === hers)
  await untilSessions(engine, 1)
  await anna.socket.ask({ type: 'delete_thread', payload: { thread_id: anna.thread } })
  await anna.socket.close()

  const stopping = await ben.socket.ask({ type: 'stop_agent', payload: {} })
  const completed = await ben.socket.until('agent_completed')
  t.same(stopping.payload, { run_ids: [his] })
  t.match(completed, { run_id: his, payload: { status: 'cancelled' } })
  t.same(strangers(await ben.socket.settled(), { user: ben.user, threads: [ben.thread], runs: [his] }), [])
  t.same((await readThread(storage, ben.user, ben.thread)).runs.map((run) => [run.runId, run.status]), [[his, 'cancelled']])
  t.equal(server.violations.length, 0)
})

// What follows is refused on purpose; the cases above have found no refusal at all.

/** An event of a run, as nobody has appended it yet. */
function thought (identity: RunIdentity, message: string): NewThreadEvent<'agent_thinking'> {
  return {
    type: 'agent_thinking',
    event_id: newEventId(),
    timestamp: new Date().toISOString(),
    user_id: identity.userId,
    thread_id: identity.threadId,
    run_id: identity.runId,
    request_id: identity.requestId,
    payload: { message, step: 0 }
  }
}

/** A run that could be in this chat's thread. */
function runIn ({ user, thread }: Chat): RunIdentity {
  return createRunIdentity({ userId: toUserId(user), threadId: thread, runId: newRunId(thread) })
}

async function connectionIn (identity: RunIdentity, threadId = identity.threadId): Promise<Connection> {
  const [connection] = await asUser(identity.userId, async () => gateway.registry.getUserConnectionsByThread(threadId))
  if (connection === undefined) throw new Error('there is a socket in the thread')
  return connection
}

t.test('D50 an event of another user or thread is refused at every station, counted, and arrives nowhere', async (t) => {
  // kill, each alone: a guard of `send` in lib/emitter/emitter.ts, of `append` in lib/events/stored-event-log.ts, or the first or
  // second one of `write` or `writeThreadEvent` in lib/gateway/connection.ts
  const [anna, annasOther, ben] = [await openChat('d50-anna'), await openChat('d50-anna'), await openChat('d50-ben')]
  const start = async ({ socket, user, thread }: Chat): Promise<RunIdentity> => {
    const accepted = await socket.ask({ type: 'user_message', payload: { content: `d50 ${user}`, agent: 'gated' } })
    await gated.arrived.next((content) => content === `d50 ${user}`)
    return createRunIdentity({ userId: toUserId(user), threadId: thread, runId: toRunId(accepted.run_id) })
  }
  const [hers, his] = [await start(anna), await start(ben)]
  const emitter = enterThread(hers, () => createEmitter({ log: eventLog, attempt: 1, agentName: 'gated' }))
  await enterThread(hers, () => emitter.emit('agent_started', { agent: 'gated', message_id: newThreadId(), input: 'a control' }))
  const control = await enterThread(hers, () => eventLog.append(thought(hers, 'a control'), 1))
  const [hersHere, hersElsewhere, hisHere] = [await connectionIn(hers), await connectionIn(hers, annasOther.thread), await connectionIn(his)]
  const all = [anna, annasOther, ben].map(({ socket }) => socket)
  for (const socket of all) await socket.settled()
  const heard = all.map((socket) => socket.events.length)
  const known = server.violations.length
  const counts = watchCounters(t)

  const smuggled = (identity: RunIdentity, more: Partial<Pick<ThreadEvent, 'user_id' | 'thread_id'>> = {}): ThreadEvent => {
    return { ...thought(identity, 'smuggled'), sequence: control.sequence + 1, epoch: storage.epoch, ...more }
  }
  const attempts: readonly (readonly [RunIdentity, () => unknown, string])[] = [
    [his, () => emitter.emit('agent_thinking', { message: 'smuggled', step: 0 }), 'emitter'],
    [runIn(annasOther), () => emitter.emit('agent_thinking', { message: 'smuggled', step: 0 }), 'emitter'],
    [his, () => eventLog.append(thought(hers, 'smuggled'), 1), 'event-log'],
    [hers, () => eventLog.append({ ...thought(hers, 'smuggled'), user_id: his.userId }, 1), 'event-log'],
    [hers, () => eventLog.append({ ...thought(hers, 'smuggled'), thread_id: annasOther.thread }, 1), 'event-log'],
    [hers, () => eventLog.append(thought(his, 'smuggled'), 1), 'event-log'],
    [hers, () => hisHere.write(createEvent('typing', { is_typing: true, thread_id: his.threadId })), 'socket.send'],
    [hers, () => hersHere.write({ ...createEvent('typing', { is_typing: true, thread_id: hers.threadId }), user_id: his.userId }), 'socket.send'],
    [hers, () => hisHere.writeThreadEvent(smuggled(hers), 'smuggled'), 'socket.send'],
    [hers, () => hersHere.writeThreadEvent(smuggled(his), 'smuggled'), 'socket.send'],
    [hers, () => hersHere.writeThreadEvent(smuggled(hers, { thread_id: annasOther.thread }), 'smuggled'), 'socket.send'],
    [hers, () => hersElsewhere.writeThreadEvent(smuggled(hers), 'smuggled'), 'socket.send']
  ]
  for (const [identity, attempt] of attempts) {
    await t.rejects(enterThread(identity, async () => { await attempt() }), { code: 'THREADLINE_CONTEXT_MISMATCH' }, String(attempt))
  }
  const forged = smuggled(hers, { user_id: his.userId })
  const delivery = enterThread(hers, () => gateway.subscriptions.deliver(forged))
  const stored = await storage.events.append([{ event: { ...thought(hers, 'smuggled'), user_id: his.userId }, attempt: 1 }])

  t.equal(delivery, 'queued')
  t.same(stored, [{ refused: 'thread-not-found' }], 'below all, the database refuses on its own')
  const places = [...attempts.map(([, , place]) => place), 'socket.send']
  t.same(server.violations.slice(known).map(({ place, kind }) => [place, kind]), places.map((place) => [place, 'crossed']))
  const refused = counts.filter(({ counter }) => counter === 'threadline.context.violations') // nodes tell each other something at any time
  t.same(refused, places.map((hop) => ({ counter: 'threadline.context.violations', value: 1, attributes: { hop, kind: 'crossed', witness: 'guard' } })))
  for (const [nth, socket] of all.entries()) {
    t.same((await socket.settled()).slice(heard[nth]).map(({ type }) => type), ['pong'])
  }
  t.ok(anna.socket.events.some((event) => event.event_id === control.event_id), 'what was hers did arrive')
  gated.open(`d50 ${anna.user}`)
  gated.open(`d50 ${ben.user}`)
  await Promise.all([anna, ben].map(({ socket }) => socket.until('agent_completed')))
  for (const { user, thread } of [anna, annasOther, ben]) {
    t.notOk(JSON.stringify([await readThread(storage, user, thread), anna.socket.events, ben.socket.events]).includes('smuggled'))
  }
})

t.test('D41 D42 D44 D51 no socket of this file has ever received what was another user\'s', async (t) => {
  for (const { user, socket } of sockets) {
    const bytes = JSON.stringify(socket.events)
    const others = meetings.seen.filter(({ identity }) => identity.userId !== user)

    t.same(socket.events.filter((event) => event.user_id !== user), [])
    t.same(others.filter(({ marker }) => bytes.includes(marker)), [])
  }
  t.ok(sockets.length > 100)
})
