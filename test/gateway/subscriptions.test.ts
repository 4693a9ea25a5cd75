import t from 'tap'
import { currentRun, enterThread } from '../../lib/context/current-thread.ts'
import { createIdentity, createRunIdentity, type RunIdentity } from '../../lib/context/identity.ts'
import { ThreadlineError } from '../../lib/errors.ts'
import type { EventLog } from '../../lib/events/event-log.ts'
import { enterEvent } from '../../lib/events/stored-event-log.ts'
import { Connection } from '../../lib/gateway/connection.ts'
import type { Outbox, Sent } from '../../lib/gateway/outbox.ts'
import { Subscriptions } from '../../lib/gateway/subscriptions.ts'
import type { CloseReason } from '../../lib/protocol/close-codes.ts'
import type { ServerEvent, ThreadEvent } from '../../lib/protocol/events.ts'
import { newConnectionId, newEventId, newRunId } from '../../lib/protocol/ids.ts'
import { newRun } from '../support/identities.ts'
import { createSilentLogger } from '../support/silent-logger.ts'
import { watchViolations } from '../support/violations.ts'
import { within } from '../support/within.ts'

/** Keeps what leaves, and in whose name it left. */
class KeepingOutbox implements Outbox {
  readonly duplex = true
  readonly gone = new Promise<void>(() => {})
  readonly frames: string[] = []
  readonly events: ServerEvent[] = []
  readonly names: RunIdentity[] = []
  closed: CloseReason | undefined
  /** What a client that is waited for takes its time with. */
  waitedFor: Promise<void> = Promise.resolve()
  waits = 0

  get sequences (): readonly (number | undefined)[] { return this.events.map(({ sequence }) => sequence) }

  open (): void {}

  send (event: ServerEvent, frame: string): Sent {
    if (this.closed !== undefined) return 'dead'
    this.events.push(event)
    this.frames.push(frame)
    this.names.push(currentRun())
    return 'sent'
  }

  drained (): Promise<void> {
    this.waits += 1
    return this.waitedFor
  }

  close (reason: CloseReason): void { this.closed ??= reason }
  ping (): void {}
  terminate (): void { this.close('internal') }
}

function eventOf (run: RunIdentity, sequence: number): ThreadEvent {
  return {
    type: 'agent_delta', event_id: newEventId(), sequence, epoch: 'epoch', timestamp: new Date().toISOString(), user_id: run.userId,
    thread_id: run.threadId, run_id: run.runId, request_id: run.requestId, payload: { text: String(sequence), step: 0 }
  }
}

interface Options { readonly maxHeld?: number, readonly replayTimeoutMs?: number, readonly read?: EventLog['read'] }

/** Subscriptions over a log that tells nothing by itself, and keeps what it is asked for. */
function start (run: RunIdentity, { maxHeld = 100, replayTimeoutMs = 60_000, read }: Options = {}) {
  const logger = createSilentLogger()
  const followed: string[] = []
  const stored = Array.from({ length: 1_000 }, (_event, index) => eventOf(run, index + 1))
  const log: Pick<EventLog, 'follow' | 'read'> = {
    follow (threadId) {
      followed.push(threadId)
      return () => { followed.splice(followed.indexOf(threadId), 1) }
    },
    read: read ?? (async (_threadId, after, limit) => stored.slice(after, after + limit))
  }
  const subscriptions = new Subscriptions({ log: log as EventLog, logger, replayBytes: 10_000, replayTimeoutMs }) // nothing else of it is used

  /** A connection that is in the run's thread, and has been sent everything up to a sequence. */
  function connect (upTo: number, owner: RunIdentity = run) {
    const outbox = new KeepingOutbox()
    const connection = new Connection({
      connectionId: newConnectionId(), userId: owner.userId, threadId: run.threadId, outbox, maxHeld,
      handshake: { traceId: 'a'.repeat(32), spanId: '1'.repeat(16), traceFlags: 1 }
    })
    connection.open()
    connection.stand(run.threadId, { from: upTo, to: upTo })
    enterThread(owner, () => { subscriptions.join(connection, run.threadId) })
    return { connection, outbox }
  }

  const deliver = (event: ThreadEvent) => enterEvent(event, () => subscriptions.deliver(event))
  const at = (sequence: number): ThreadEvent => stored[sequence - 1] ?? eventOf(run, sequence)
  return { subscriptions, connect, deliver, at, followed, logger }
}

/** Everything that was begun has happened, as far as it waits for promises alone. */
async function settled (): Promise<void> {
  await new Promise((resolve) => { setImmediate(resolve) })
}

t.test('every connection of a thread gets each event, whose frame was made once', async (t) => {
  const alice = newRun('alice')
  const { connect, deliver, at } = start(alice)
  const outboxes = Array.from({ length: 10 }, () => connect(0).outbox)
  let made = 0
  const event = { ...at(1), payload: { toJSON () { made += 1; return { text: 'hello', step: 0 } } } } as unknown as ThreadEvent // JSON of an event

  t.equal(deliver(event), 'delivered')
  t.equal(deliver(at(2)), 'delivered')

  t.equal(made, 1)
  for (const { sequences, frames } of outboxes) {
    t.same(sequences, [1, 2])
    t.equal(JSON.parse(frames[0] ?? '').payload.text, 'hello')
  }
})

// kill: let keyOf of lib/gateway/subscriptions.ts leave out the user.
t.test('D50 a connection of another user that has joined the same thread is not there', async (t) => {
  const violations = watchViolations(t)
  const alice = newRun('alice')
  const mallory = createRunIdentity({ userId: newRun('mallory').userId, threadId: alice.threadId, runId: newRunId(alice.threadId) })
  const { subscriptions, connect, deliver, at, followed } = start(alice)
  const [hers, his] = [connect(0), connect(0, mallory)]

  t.equal(deliver(at(1)), 'delivered')
  enterThread(mallory, () => { subscriptions.leave(hers.connection, alice.threadId) })
  deliver(at(2))
  enterThread(alice, () => { subscriptions.leave(hers.connection, alice.threadId) })

  t.same(hers.outbox.sequences, [1, 2])
  t.same(his.outbox.sequences, [])
  t.equal(deliver(at(3)), 'queued')
  t.equal(subscriptions.size, 1)
  enterThread(mallory, () => { subscriptions.leave(his.connection, alice.threadId) })
  t.equal(subscriptions.size, 0)
  t.same(followed, [])
  t.same(violations, [])
})

t.test('an event that a connection has been sent is not sent again', async (t) => {
  const { connect, deliver, at } = start(newRun('alice'))
  const { outbox } = connect(2)

  t.same([1, 2, 3, 3, 2].map((sequence) => deliver(at(sequence))), Array.from({ length: 5 }, () => 'delivered'))

  t.same(outbox.sequences, [3])
})

// kill: the lines of `#offer` in lib/gateway/subscriptions.ts that compare the sequence with the next one.
t.test('events that were not told here are read from the log, and later ones wait for them', async (t) => {
  const alice = newRun('alice')
  const { connect, deliver, at } = start(alice)
  const { outbox } = connect(1)

  for (const sequence of [400, 401, 350, 402]) deliver(at(sequence))
  t.same(outbox.sequences, [])
  await settled()

  t.same(outbox.sequences, Array.from({ length: 401 }, (_sequence, index) => index + 2))
  t.ok(outbox.events.every((event) => event.replayed === undefined), 'they are late, and not repeated')
  t.ok(outbox.names.every(({ runId, depth }) => runId === alice.runId && depth === 0))
  t.equal(deliver(at(403)), 'delivered')
  t.equal(outbox.sequences.at(-1), 403)
})

t.test('a connection whose gap cannot be filled is closed, so that its client resumes', async (t) => {
  for (const read of [async () => 'expired' as const, async () => [], async () => { throw new Error('the storage is away') }]) {
    const { connect, deliver, at } = start(newRun('alice'), { read })
    const { outbox } = connect(1)

    deliver(at(4))
    await settled()

    t.equal(outbox.closed, 'internal')
    t.same(outbox.sequences, [])
  }
})

// kill: `whileStorageIsAway` in `#catchUp` of lib/gateway/subscriptions.ts asks once.
t.test('a connection outlives a storage that is away, and catches up when it is back', async (t) => {
  const alice = newRun('alice')
  let asked = 0
  const { connect, deliver, at } = start(alice, {
    async read (_threadId, after, limit) {
      asked += 1
      if (asked < 3) throw new ThreadlineError('THREADLINE_STORAGE_UNAVAILABLE')
      return Array.from({ length: limit }, (_event, index) => at(after + index + 1))
    }
  })
  const { outbox } = connect(1)

  deliver(at(4))
  deliver(at(5))
  await within('it to have caught up', (async () => { while (outbox.sequences.length < 4) await settled() })())

  t.same(outbox.sequences, [2, 3, 4, 5])
  t.equal(outbox.closed, undefined)
  t.equal(asked, 3)
})

// kill: let `holdBack` of lib/gateway/connection.ts answer false.
t.test('live events wait until what was missed has been sent, and follow once', async (t) => {
  const alice = newRun('alice')
  const { subscriptions, connect, deliver, at } = start(alice)
  const { connection, outbox } = connect(600)
  const hold = connection.hold(alice.threadId)
  const slow = Promise.withResolvers<void>()
  outbox.waitedFor = slow.promise

  const replaying = enterThread(alice, () => subscriptions.replay(connection, hold, { after: 100, upTo: 600 }))
  await settled()
  for (const sequence of [599, 600, 601, 602]) deliver(at(sequence))
  const before = outbox.events.length
  slow.resolve()
  const replayed = await replaying
  subscriptions.release(connection, hold)
  deliver(at(603))

  t.ok(before < 256, 'a client is waited for before its outbox is full')
  t.same(replayed, { sent: 500, outcome: 'complete' })
  t.same(outbox.sequences, Array.from({ length: 503 }, (_sequence, index) => index + 101))
  t.same(outbox.events.map((event) => event.replayed), [...Array.from({ length: 500 }, () => true), undefined, undefined, undefined])
  t.ok(outbox.frames.slice(0, 500).every((frame) => JSON.parse(frame).replayed === true))
})

t.test('G93 a client that takes nothing of what it has missed is closed as a slow consumer', async (t) => {
  const alice = newRun('alice')
  const { subscriptions, connect } = start(alice, { replayTimeoutMs: 1 })
  const { connection, outbox } = connect(600)
  outbox.waitedFor = new Promise(() => {})

  const replayed = await enterThread(alice, () => subscriptions.replay(connection, connection.hold(alice.threadId), { after: 0, upTo: 600 }))

  t.equal(replayed.outcome, 'stopped')
  t.equal(outbox.closed, 'slowConsumer')
  t.equal(outbox.waits, 1)
})

t.test('G93 a connection for which too many live events wait is closed as a slow consumer', async (t) => {
  const alice = newRun('alice')
  const { connect, deliver, at } = start(alice, { maxHeld: 2 })
  const { connection, outbox } = connect(0)
  connection.hold(alice.threadId)

  deliver(at(1))
  deliver(at(2))
  t.equal(outbox.closed, undefined)
  deliver(at(3))

  t.equal(outbox.closed, 'slowConsumer')
})

t.test('a replay ends when the connection leaves the thread, is closed, or somebody else holds the thread back', async (t) => {
  const alice = newRun('alice')
  const ways: readonly ((connection: Connection) => void)[] = [
    (connection) => { connection.drop(alice.threadId) },
    (connection) => { connection.close('drain') },
    (connection) => { connection.hold(alice.threadId) }
  ]
  for (const leave of ways) {
    const { subscriptions, connect } = start(alice)
    const { connection, outbox } = connect(600)
    const replaying = enterThread(alice, () => subscriptions.replay(connection, connection.hold(alice.threadId), { after: 0, upTo: 600 }))
    leave(connection)

    t.same(await replaying, { sent: 0, outcome: 'stopped' })
    t.same(outbox.sequences, [])
  }
})

t.test('D50 a stored event of another user is refused at the last step, and the connection closed', async (t) => {
  const violations = watchViolations(t)
  const [alice, mallory] = [newRun('alice'), newRun('mallory')]
  const { subscriptions, connect } = start(alice, { read: async () => [eventOf(mallory, 1)] })
  const { connection, outbox } = connect(1)

  const replayed = await enterThread(alice, () => subscriptions.replay(connection, connection.hold(alice.threadId), { after: 0, upTo: 1 }))

  t.equal(replayed.outcome, 'stopped')
  t.equal(outbox.closed, 'internal')
  t.same(outbox.frames, [])
  t.match(violations, [{ place: 'socket.send', kind: 'crossed' }])
})

t.test('J123 nobody can join or leave without an identity', async (t) => {
  const alice = newRun('alice')
  const { subscriptions, connect } = start(alice)
  const { connection } = connect(0)

  t.throws(() => { subscriptions.join(connection, alice.threadId) }, { code: 'THREADLINE_NO_CONTEXT' })
  t.throws(() => { subscriptions.leave(connection, alice.threadId) }, { code: 'THREADLINE_NO_CONTEXT' })
  enterThread(createIdentity({ userId: alice.userId }), () => { subscriptions.leave(connection, alice.threadId) })
  t.equal(subscriptions.size, 0)
})
