import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { enterThread } from '../../lib/context/current-thread.ts'
import { createIdentity } from '../../lib/context/identity.ts'
import { isThreadlineError, ThreadlineError } from '../../lib/errors.ts'
import type { Engine } from '../../lib/engine/engine.ts'
import type { EventLog } from '../../lib/events/event-log.ts'
import type { Connection } from '../../lib/gateway/connection.ts'
import type { FollowedThread } from '../../lib/gateway/event-streams.ts'
import { createGateway, type Gateway } from '../../lib/gateway/gateway.ts'
import { newRunId, toUserId, type ThreadId } from '../../lib/protocol/ids.ts'
import type { Storage } from '../../lib/stores/storage.ts'
import { actingAs } from '../support/acting-as.ts'
import { endOfRun } from '../support/run-end.ts'
import { someDelta } from '../support/some-events.ts'
import { startGateway } from '../support/start-gateway.ts'
import { startServer } from '../support/start-server.ts'
import { readThread } from '../support/stored-thread.ts'
import { openStream, TestStream, type HttpAnswer } from '../support/test-stream.ts'
import { watchViolations } from '../support/violations.ts'
import { within } from '../support/within.ts'

// Event streams of a gateway of its own, over real HTTP, whose parts can fail or wait.

const server = await startServer(t, { env: { DEFAULT_AGENT: 'echo' } })
const { storage, eventLog, engine } = server.app
const alice = toUserId('alice')
const away = new ThreadlineError('THREADLINE_STORAGE_UNAVAILABLE')

interface OwnStreams {
  readonly gateway: Gateway
  follow (followed: FollowedThread): Promise<TestStream | HttpAnswer>
  run (threadId: ThreadId, content: string): Promise<TestStream | HttpAnswer>
}

async function startStreams (t: Test, exchanged: { storage?: Storage, log?: EventLog, engine?: Engine }): Promise<OwnStreams> {
  const { agents, config, log: logger, authentication, isolation } = server.app
  const gateway = createGateway({
    tools: {
      storage: exchanged.storage ?? storage, agents, engine: exchanged.engine ?? engine, defaultAgent: config.defaultAgent, maxWaitingRuns: 8,
      signer: server.app.signer, reportIsolation: isolation.report
    },
    log: exchanged.log ?? eventLog,
    logger,
    limits: { ...config, tokenNoticeMs: 60_000, closeTimeoutMs: 2_000 },
    verifyToken: authentication.verifyToken
  })
  let answer: (response: ServerResponse) => Promise<void>
  const http = createServer((_request, response) => {
    enterThread(createIdentity({ userId: alice }), () => answer(response)).catch((err: unknown) => {
      response.writeHead(isThreadlineError(err) ? err.statusCode : 500).end(String(err))
    })
  })
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  const { port } = http.address() as AddressInfo // it listens on TCP
  t.teardown(async () => {
    await gateway.drain()
    http.closeAllConnections()
    http.close()
  })
  const caller = { userId: alice, expiresAt: null }
  const asking = async (how: typeof answer): Promise<TestStream | HttpAnswer> => {
    answer = how
    const answered = await openStream(`http://127.0.0.1:${port}`)
    if (answered instanceof TestStream) t.teardown(() => { answered.drop() })
    return answered
  }
  return {
    gateway,
    follow: (followed) => asking((response) => gateway.followThread(response, caller, followed)),
    run: (threadId, content) => asking((response) => gateway.streamRun(response, caller, {
      threadId, command: { type: 'user_message', thread_id: threadId, payload: { content, multitask_strategy: 'interrupt' } }, onDisconnect: 'continue'
    }))
  }
}

function streamOf (answer: TestStream | HttpAnswer): TestStream {
  if (answer instanceof TestStream) return answer
  throw new Error(`No stream: ${answer.status} ${answer.text}`)
}

/** The storage, but for how a thread's state is read, or a message accepted. */
function storageBut ({ threads = {}, runs = {} }: { threads?: Partial<Storage['threads']>, runs?: Partial<Storage['runs']> }): Storage {
  return { ...storage, epoch: storage.epoch, threads: { ...storage.threads, ...threads }, runs: { ...storage.runs, ...runs } }
}

t.test('a stream that cannot begin is an error of the request, with nothing written and nothing left', async (t) => {
  const thread = await server.thread('alice')
  const failing = await startStreams(t, { storage: storageBut({ threads: { state: async () => { throw away } } }) })

  for (const answer of [await failing.follow({ threadId: thread }), await failing.run(thread, 'hello')]) {
    t.match(answer, { status: 503, text: /THREADLINE|not available/ })
    t.not(answer.headers['content-type'], 'text/event-stream')
  }
  t.match(failing.gateway.load, { connections: 0, users: 0, followedThreads: 0 })
  t.same((await readThread(storage, 'alice', thread)).runs, [])
})

t.test('G91 a stream whose storage fails in the middle ends with a goodbye, and its reader has the rest later', async (t) => {
  const thread = await server.thread('alice')
  const socket = await server.connect('alice', { thread })
  const { sequence: last = 0, epoch = '' } = await socket.chat('hello')
  let reads = 0
  const read: EventLog['read'] = async (threadId, after, limit) => {
    reads += 1
    if (reads > 2) throw away
    return await eventLog.read(threadId, after, Math.min(limit, 1))
  }
  const failing = await startStreams(t, { log: { ...eventLog, followed: 0, read } })

  const reader = streamOf(await failing.follow({ threadId: thread, position: { after: 0, epoch } }))
  t.equal(await reader.closed, 'ended')

  t.same(reader.goodbye, { code: 4503, reason: 'notReady' })
  t.same(reader.runEvents.map(({ sequence }) => sequence), [1, 2])
  const whole = await startStreams(t, {})
  const back = streamOf(await whole.follow({ threadId: thread, position: { after: 2, epoch } }))
  await back.until('resumed')
  t.same(back.runEvents.map(({ sequence }) => sequence), Array.from({ length: last - 2 }, (_, index) => index + 3))
})

// kill: no `failed` in lib/gateway/resume.ts, or `telling` of lib/gateway/thread-membership.ts does not call it.
t.test('G91 what is told while the storage fails in the middle is not sent behind the gap: a client that comes back would miss it for ever', async (t) => {
  const thread = await server.thread('alice')
  const socket = await server.connect('alice', { thread })
  const { sequence: before = 0, epoch = '' } = await socket.chat('hello')
  let reads = 0
  const read: EventLog['read'] = async (threadId, after, limit) => {
    reads += 1
    if (reads % 3 !== 0) return await eventLog.read(threadId, after, Math.min(limit, 1))
    await socket.chat('meanwhile')
    throw away
  }
  const log = { ...eventLog, followed: 0, read }
  const [streams, { connect }] = [await startStreams(t, { log }), await startGateway(t, server, { log })]

  const reader = streamOf(await streams.follow({ threadId: thread, position: { after: 0, epoch } }))
  await reader.closed
  const client = await connect('alice', { thread, position: { after: 0, epoch } })
  const { code } = await client.closed
  const elsewhere = await connect('alice')
  elsewhere.send({ type: 'resume', thread_id: thread, payload: { after: 0, epoch } })
  await elsewhere.closed

  t.same(reader.runEvents.map(({ sequence }) => sequence), [1, 2])
  t.equal(reader.goodbye?.code, 4503)
  t.same(client.runEvents.map(({ sequence }) => sequence), [1, 2])
  t.equal(code, 4503)
  t.same(elsewhere.runEvents.map(({ sequence }) => sequence), [1, 2])
  t.ok(before > 2, 'there was more')
})

// Kill: send the message before the reader is put into the thread (`accept` before `membership.enter` in lib/gateway/run-stream.ts).
t.test('G95 G96 a run that has ended before its acceptance is told is told from its first event', async (t) => {
  const thread = await server.thread('alice')
  const stop: Engine['stop'] = async ({ before }) => {
    if (before !== undefined) await endOfRun(server.app, 'alice', before)
    return []
  }
  const streams = await startStreams(t, { engine: { ...engine, load: engine.load, stop } })

  const reader = streamOf(await streams.run(thread, 'quicker than its acceptance'))
  await within(() => `the end, after ${reader.events.map(({ type }) => type).join(', ')}`, reader.closed, 10_000)

  const { events } = await readThread(storage, 'alice', thread)
  t.equal(reader.events[0]?.type, 'message_accepted')
  t.ok(events.length > 0)
  t.strictSame(reader.runEvents, events)
})

t.test('G95 a node that drains while a stream begins still tells what has been done, and then goodbye', async (t) => {
  const thread = await server.thread('alice')
  const [arrived, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const accept: Storage['runs']['accept'] = async (message) => {
    arrived.resolve()
    await goOn.promise
    return await storage.runs.accept(message)
  }
  const streams = await startStreams(t, { storage: storageBut({ runs: { accept } }) })

  const answered = streams.run(thread, 'just before')
  await arrived.promise
  const drained = streams.gateway.drain()
  goOn.resolve()
  const reader = streamOf(await answered)
  t.equal(await reader.closed, 'ended')
  await drained

  t.same(reader.received.map(({ event }) => event), ['message_accepted', 'close'])
  t.same(reader.goodbye, { code: 1001, reason: 'drain' })
  t.equal((await readThread(storage, 'alice', thread)).runs.length, 1)
  t.match(await streams.follow({ threadId: thread }), { status: 503, text: /shutting down/ })
  t.match(await streams.run(thread, 'too late'), { status: 503, text: /shutting down/ })
})

// Kills: leave the guard of the connection (`guard({ userId: this.userId …`) out of `writeThreadEvent` in lib/gateway/connection.ts, or out of `write`.
t.test('D44 D50 what is not for its reader is not written to a stream, whoever asks for it', async (t) => {
  const [thread, other] = [await server.thread('alice'), await server.thread('bob')]
  const streams = await startStreams(t, {})
  const reader = streamOf(await streams.follow({ threadId: thread }))
  await reader.until('connection_established')
  const [connection] = actingAs('alice', () => [...streams.gateway.registry.getUserConnections()]) as [Connection] // there is one
  const violations = watchViolations(t)
  const strange = someDelta(1, 'not yours', other)

  for (const [user, threadId] of [['bob', other], ['alice', await server.thread('alice')]] as const) {
    const event = { ...strange, user_id: toUserId(user), thread_id: threadId, run_id: newRunId(threadId), sequence: 1, epoch: 'e1' }
    const identity = createIdentity({ userId: toUserId(user), threadId, runId: event.run_id })
    t.throws(() => enterThread(identity, () => connection.writeThreadEvent(event, JSON.stringify(event))), { code: 'THREADLINE_CONTEXT_MISMATCH' })
  }
  for (const event of [strange, { ...strange, user_id: toUserId('bob') }]) {
    t.throws(() => actingAs('bob', () => connection.write(event)), { code: 'THREADLINE_CONTEXT_MISMATCH' })
  }

  connection.close('drain')
  await reader.closed
  t.same(reader.runEvents, [])
  t.equal(violations.length, 4)
})
