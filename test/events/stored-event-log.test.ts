import { trace } from '@opentelemetry/api'
import t from 'tap'
import { currentRun, enterThread, tryCurrentIdentity } from '../../lib/context/current-thread.ts'
import { createIdentity, createRunIdentity, type RunIdentity } from '../../lib/context/identity.ts'
import type { EventLog } from '../../lib/events/event-log.ts'
import { createStoredEventLog, enterEvent, identityOfEvent, type StoredEventLogOptions } from '../../lib/events/stored-event-log.ts'
import type { NewThreadEvent, ThreadEvent } from '../../lib/protocol/events.ts'
import { newEventId, newRunId, toUserId } from '../../lib/protocol/ids.ts'
import type { Appended, AppendedEvent, EventStore } from '../../lib/stores/event-store.ts'
import { inRun, newRun } from '../support/identities.ts'
import { createSilentLogger } from '../support/silent-logger.ts'
import { watchViolations } from '../support/violations.ts'

interface MemoryStore extends EventStore {
  readonly batches: readonly (readonly AppendedEvent[])[]
  /** Who was being served when the store was asked to append. */
  readonly servedAtAppend: readonly unknown[]
}

/** Numbers the events of each thread from 1; `judge` may refuse one, or fail. */
function createMemoryStore (judge: (event: NewThreadEvent) => Appended | undefined = () => undefined): MemoryStore {
  const batches: (readonly AppendedEvent[])[] = []
  const servedAtAppend: unknown[] = []
  const sequences = new Map<string, number>()
  return {
    batches,
    servedAtAppend,
    async append (batch) {
      batches.push(batch)
      servedAtAppend.push(tryCurrentIdentity())
      await Promise.resolve()
      return batch.map(({ event }) => {
        const judged = judge(event)
        if (judged !== undefined) return judged
        const sequence = (sequences.get(event.thread_id) ?? 0) + 1
        sequences.set(event.thread_id, sequence)
        return { sequence }
      })
    },
    async read () { return [] },
    async positions () { return new Map() }
  }
}

function createLog (options: Partial<StoredEventLogOptions> = {}) {
  const store = createMemoryStore()
  const logger = createSilentLogger()
  return { store, logger, log: createStoredEventLog({ store, epoch: 'epoch', logger, ...options }) }
}

const thinkingOf = (run: RunIdentity, message: string, more: Partial<NewThreadEvent> = {}): NewThreadEvent => ({
  type: 'agent_thinking', event_id: newEventId(), timestamp: new Date().toISOString(), user_id: run.userId, thread_id: run.threadId, run_id: run.runId,
  request_id: run.requestId, payload: { message, step: 0 }, ...more
})

const append = async (log: EventLog, run: RunIdentity, message: string, more: Partial<NewThreadEvent> = {}): Promise<ThreadEvent> =>
  await inRun(run, async () => await log.append(thinkingOf(run, message, more), 1))

const messagesOf = (batches: readonly (readonly AppendedEvent[])[], { threadId }: RunIdentity): readonly string[] =>
  batches.flat().filter(({ event }) => event.thread_id === threadId).map(({ event }) => messageOf(event))

const messageOf = ({ payload }: Pick<NewThreadEvent, 'payload'>): string => 'message' in payload ? payload.message : ''

t.test('an event is given its place, and told to the followers of its thread once it is stored, in order', async (t) => {
  const { log, store } = createLog()
  const alice = newRun('alice')
  const told: ThreadEvent[] = []
  enterThread(alice, () => log.follow(alice.threadId, (event) => {
    t.equal(store.batches.flat().some((item) => item.event.event_id === event.event_id), true, 'it was stored before')
    told.push(event)
  }))

  const appended = await Promise.all(['one', 'two', 'three'].map(async (message) => await append(log, alice, message)))

  t.same(appended.map(({ sequence, epoch }) => [sequence, epoch]), [[1, 'epoch'], [2, 'epoch'], [3, 'epoch']])
  t.strictSame(told, appended)
  t.same(store.batches.map((batch) => batch.length), [3], 'in one batch')
})

// kill: choose the writer by the event's id in append of lib/events/log-writers.ts: the second event of the thread that is held is written before its first.
t.test('where the store takes several batches at once, one that is held up holds up its own threads, in their order, and no others', async (t) => {
  const memory = createMemoryStore()
  const held = Promise.withResolvers<undefined>()
  const slow = newRun('alice')
  const store: EventStore = {
    ...memory,
    batchesAtOnce: 2,
    async append (batch) {
      if (batch.some(({ event }) => event.thread_id === slow.threadId)) await held.promise
      return await memory.append(batch)
    }
  }
  const { log } = createLog({ store })
  const others = Array.from({ length: 40 }, () => newRun('bob'))

  const first = append(log, slow, 'first')
  const appended = others.map(async (run) => await append(log, run, 'other'))
  const second = append(log, slow, 'second')
  await Promise.any(appended)
  const written = memory.batches.flat().length

  t.ok(written > 5 && written < 35, `${written} of 40 were written meanwhile, about half`)
  t.notOk(memory.batches.flat().some(({ event }) => event.thread_id === slow.threadId))
  held.resolve(undefined)
  t.same([(await first).sequence, (await second).sequence], [1, 2])
  t.same(messagesOf(memory.batches, slow), ['first', 'second'])
  t.equal((await Promise.all(appended)).length, 40)
})

// kill: tell calls the followers without enterThread.
t.test('J122 each event is told in the identity and the trace of the run that told it, whoever shares the batch', async (t) => {
  const { log } = createLog()
  const [alice, bob] = [newRun('alice'), newRun('bob')]
  const traceparents = new Map([[alice.userId, `00-${'a'.repeat(32)}-${'1'.repeat(16)}-01`], [bob.userId, `00-${'b'.repeat(32)}-${'2'.repeat(16)}-01`]])
  const seen: { readonly event: ThreadEvent, readonly served: RunIdentity, readonly spanId: string | undefined }[] = []
  for (const run of [alice, bob]) {
    enterThread(run, () => log.follow(run.threadId, (event) => {
      seen.push({ event, served: currentRun(), spanId: trace.getActiveSpan()?.spanContext().spanId })
    }))
  }

  await Promise.all([alice, bob, alice, bob].map(async (run, index) => {
    await append(log, run, String(index), { traceparent: traceparents.get(run.userId) ?? '' })
  }))

  t.equal(seen.length, 4)
  for (const { event, served, spanId } of seen) {
    t.match(served, { userId: event.user_id, threadId: event.thread_id, runId: event.run_id, requestId: event.request_id, depth: 0 })
    t.equal(spanId, event.user_id === 'alice' ? '1'.repeat(16) : '2'.repeat(16))
  }
})

t.test('an event without a readable trace is told outside of any', async (t) => {
  const { log } = createLog()
  const alice = newRun('alice')
  const seen: unknown[] = []
  enterThread(alice, () => log.follow(alice.threadId, () => { seen.push(trace.getActiveSpan()) }))

  await append(log, alice, 'no trace')
  await append(log, alice, 'a bad one', { traceparent: 'not a traceparent' })

  t.same(seen, [undefined, undefined])
})

// kill: the line with isOwner in tellOne.
t.test('D42 a follower of another user is told nothing, also of a thread whose id it knows', async (t) => {
  const { log } = createLog()
  const [alice, mallory] = [newRun('alice'), newRun('mallory')]
  const told: string[] = []
  enterThread(mallory, () => log.follow(alice.threadId, () => { told.push('mallory') }))
  enterThread(createIdentity({ userId: toUserId('bob') }), () => log.follow(alice.threadId, () => { told.push('bob') }))
  enterThread(createIdentity({ userId: alice.userId }), () => log.follow(alice.threadId, () => { told.push('alice') }))

  await append(log, alice, 'for Alice')

  t.same(told, ['alice'])
})

// kill: tell takes the followers of the first thread that is followed.
t.test('D46 events of one thread are not told to the followers of another, of the same user', async (t) => {
  const { log } = createLog()
  const [one, other] = [newRun('alice'), newRun('alice')]
  const told: string[] = []
  enterThread(one, () => log.follow(one.threadId, (event) => { told.push(`one: ${messageOf(event)}`) }))
  enterThread(other, () => log.follow(other.threadId, (event) => { told.push(`other: ${messageOf(event)}`) }))

  await append(log, one, 'first')
  await append(log, other, 'second')

  t.same(told, ['one: first', 'other: second'])
})

// kill: the line with guard in append.
t.test('D50 an event of another user, thread or run than the active one is refused, counted, and never reaches the store', async (t) => {
  const violations = watchViolations(t)
  const { log, store } = createLog()
  const [alice, bob] = [newRun('alice'), newRun('bob')]
  const next = createRunIdentity({ userId: alice.userId, threadId: alice.threadId, runId: newRunId(alice.threadId) })
  const mismatch = { code: 'THREADLINE_CONTEXT_MISMATCH' }
  const told: ThreadEvent[] = []
  enterThread(alice, () => log.follow(alice.threadId, (event) => { told.push(event) }))

  await inRun(bob, async () => { await t.rejects(log.append(thinkingOf(alice, 'forged'), 1), mismatch) })
  await inRun(next, async () => { await t.rejects(log.append(thinkingOf(alice, 'of the last run'), 1), mismatch) })
  await inRun(alice, async () => {
    await t.rejects(log.append(thinkingOf(alice, 'elsewhere', { thread_id: bob.threadId }), 1), mismatch)
    await t.rejects(log.append(thinkingOf(alice, 'as Bob', { user_id: bob.userId }), 1), mismatch)
  })
  await t.rejects(log.append(thinkingOf(alice, 'as nobody'), 1), mismatch)

  t.same(store.batches, [])
  t.same(told, [])
  t.same(violations.map(({ place, kind }) => `${place} ${kind}`), [...Array.from({ length: 4 }, () => 'event-log crossed'), 'event-log lost'])
})

// kill: the loop of GroupCommit is started without context.with(ROOT_CONTEXT, …).
t.test('the store is asked in no one\'s name, since a batch is of many', async (t) => {
  const { log, store } = createLog()

  await Promise.all(['alice', 'bob'].map(async (user) => await append(log, newRun(user), 'hello')))
  await append(log, newRun('carol'), 'hello')

  t.same(store.servedAtAppend, [undefined, undefined])
})

t.test('what the store refuses is an error for its caller, and told to nobody', async (t) => {
  const judge = (event: NewThreadEvent): Appended | undefined => {
    if (messageOf(event) === 'deleted') return { refused: 'thread-not-found' }
    return messageOf(event) === 'stale' ? { refused: 'run-not-active' } : undefined
  }
  const { log } = createLog({ store: createMemoryStore(judge) })
  const alice = newRun('alice')
  const told: string[] = []
  enterThread(alice, () => log.follow(alice.threadId, (event) => { told.push(messageOf(event)) }))

  const outcomes = await Promise.allSettled(['good', 'deleted', 'stale', 'better'].map(async (message) => await append(log, alice, message)))

  t.match(outcomes, [
    { value: { sequence: 1 } }, { reason: { code: 'THREADLINE_THREAD_NOT_FOUND' } }, { reason: { code: 'THREADLINE_CONFLICT' } }, { value: { sequence: 2 } }
  ])
  t.same(told, ['good', 'better'])
})

t.test('F86 a follower that throws hinders neither the others nor the one who appends', async (t) => {
  const { log, logger } = createLog()
  const alice = newRun('alice')
  const told: string[] = []
  enterThread(alice, () => {
    log.follow(alice.threadId, () => { throw new Error('the socket is gone') })
    log.follow(alice.threadId, (event) => { told.push(messageOf(event)) })
  })

  const appended = await append(log, alice, 'hello')

  t.equal(appended.sequence, 1)
  t.same(told, ['hello'])
  t.match(logger.lines, [{ level: 'error', fields: { event_id: appended.event_id, err: { message: 'the socket is gone' } } }])
})

// kill: append does not make the identity in which the event will be told.
t.test('K128 an event that cannot be told is refused, and does not hinder another user\'s in the same batch', async (t) => {
  const { log, store } = createLog()
  const [alice, bob] = [newRun('alice'), newRun('bob')]
  const told: string[] = []
  for (const run of [alice, bob]) enterThread(run, () => log.follow(run.threadId, (event) => { told.push(messageOf(event)) }))

  const outcomes = await Promise.allSettled([
    append(log, alice, 'before'), append(log, alice, 'broken', { request_id: 'not a request' as never }), append(log, bob, 'whole')
  ])

  t.match(outcomes, [{ value: { sequence: 1 } }, { reason: { code: 'THREADLINE_INVALID_CONTEXT', field: 'request_id' } }, { value: { sequence: 1 } }])
  t.same(told, ['before', 'whole'])
  t.same(store.batches.flat().map(({ event }) => messageOf(event)), ['before', 'whole'])
})

t.test('who has unfollowed is told nothing more, and a thread without followers is forgotten', async (t) => {
  const { log } = createLog()
  const alice = newRun('alice')
  const told: string[] = []
  const [first, second] = enterThread(alice, () => ['first', 'second'].map((name) =>
    log.follow(alice.threadId, (event) => { told.push(`${name}: ${messageOf(event)}`) })))

  t.equal(log.followed, 1)
  await append(log, alice, 'one')
  first?.()
  first?.()
  await append(log, alice, 'two')
  second?.()
  t.equal(log.followed, 0)
  await append(log, alice, 'three')

  t.same(told, ['first: one', 'second: one', 'second: two'])
})

t.test('whoever follows or unfollows while an event is told changes the audience of the next one', async (t) => {
  const { log } = createLog()
  const alice = newRun('alice')
  const told: string[] = []
  let again = (): void => {}
  enterThread(alice, () => {
    const follow = (): void => {
      again = log.follow(alice.threadId, (event) => {
        told.push(messageOf(event))
        again()
        if (told.length < 10) follow()
      })
    }
    follow()
    log.follow(alice.threadId, () => {}) // keeps the thread followed
  })

  await append(log, alice, 'one')
  t.same(told, ['one'])
  await append(log, alice, 'two')

  t.same(told, ['one', 'two'])
  t.equal(log.followed, 1)
})

t.test('a follower that another one has just made to unfollow is told nothing', async (t) => {
  const { log } = createLog()
  const alice = newRun('alice')
  const told: string[] = []
  enterThread(alice, () => {
    let leave = (): void => {}
    log.follow(alice.threadId, () => { told.push('first'); leave() })
    leave = log.follow(alice.threadId, () => { told.push('second') })
  })

  await append(log, alice, 'one')

  t.same(told, ['first'])
})

t.test('J123 nobody can follow without an identity', async (t) => {
  const { log } = createLog()

  t.throws(() => log.follow(newRun('alice').threadId, () => {}), { code: 'THREADLINE_NO_CONTEXT' })
  t.equal(log.followed, 0)
})

t.test('G93 too many appends are refused, and closing waits for what was taken', async (t) => {
  const { log } = createLog({ maxWaiting: 2 })
  const alice = newRun('alice')

  const appending = ['one', 'two', 'three'].map(async (message) => await append(log, alice, message))
  const outcomes = Promise.allSettled(appending)
  await Promise.allSettled([appending[2]])
  await log.close()

  t.match(await outcomes, [{ value: { sequence: 1 } }, { value: { sequence: 2 } }, { reason: { code: 'THREADLINE_STORAGE_UNAVAILABLE' } }])
  await t.rejects(append(log, alice, 'four'), { code: 'THREADLINE_SHUTTING_DOWN' })
})

t.test('what was appended here is read without the store, and all else from it', async (t) => {
  const asked: (readonly [number, number])[] = []
  const { log } = createLog({
    store: { ...createMemoryStore(), async read (_threadId, after, limit) { asked.push([after, limit]); return after === 7 ? 'expired' : [] } }
  })
  const alice = newRun('alice')
  const read = async (after: number, limit: number) => await inRun(alice, async () => await log.read(alice.threadId, after, limit))
  const appended = await Promise.all(['one', 'two', 'three'].map(async (message) => await append(log, alice, message)))

  t.strictSame(await read(1, 2), appended.slice(1))
  t.same(asked, [])
  t.same(await read(1, 3), [])
  t.equal(await read(7, 1), 'expired')
  t.same(asked, [[1, 3], [7, 1]])
})

t.test('what the store has refused is not at hand either', async (t) => {
  const { log } = createLog({ store: createMemoryStore(({ payload }) => 'message' in payload && payload.message === 'stale' ? { refused: 'run-not-active' } : undefined) })
  const alice = newRun('alice')
  await Promise.allSettled(['good', 'stale', 'better'].map(async (message) => await append(log, alice, message)))

  const read = await inRun(alice, async () => await log.read(alice.threadId, 0, 2))

  t.match(read, [{ sequence: 1, payload: { message: 'good' } }, { sequence: 2, payload: { message: 'better' } }])
})

t.test('an event that was read is worked on in the name and in the trace of its run', async (t) => {
  const alice = newRun('alice')
  const event = { ...thinkingOf(alice, 'hello', { traceparent: `00-${'a'.repeat(32)}-${'1'.repeat(16)}-01` }), sequence: 1, epoch: 'epoch' }

  const seen = enterThread(newRun('bob'), () => enterEvent(event, () => [currentRun(), trace.getActiveSpan()?.spanContext().spanId] as const))

  t.match(seen, [{ userId: alice.userId, threadId: alice.threadId, runId: alice.runId, requestId: alice.requestId }, '1'.repeat(16)])
})

t.test('the identity of an event is its run\'s', async (t) => {
  const alice = newRun('alice')

  t.match(identityOfEvent(thinkingOf(alice, 'hello')), {
    userId: alice.userId, threadId: alice.threadId, runId: alice.runId, requestId: alice.requestId, depth: 0
  })
})
