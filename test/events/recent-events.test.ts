import fc from 'fast-check'
import t from 'tap'
import { enterThread } from '../../lib/context/current-thread.ts'
import { createIdentity, type RunIdentity } from '../../lib/context/identity.ts'
import { RecentEvents } from '../../lib/events/recent-events.ts'
import type { ThreadEvent } from '../../lib/protocol/events.ts'
import { newEventId } from '../../lib/protocol/ids.ts'
import { newRun } from '../support/identities.ts'

const eventOf = (run: RunIdentity, sequence: number): ThreadEvent => ({
  type: 'agent_thinking', event_id: newEventId(), sequence, epoch: 'epoch', timestamp: new Date().toISOString(), user_id: run.userId,
  thread_id: run.threadId, run_id: run.runId, request_id: run.requestId, payload: { message: String(sequence), step: 0 }
})

function readAs (reader: Pick<RunIdentity, 'userId'>, recent: RecentEvents, { threadId }: RunIdentity, after: number, limit: number) {
  return enterThread(createIdentity({ userId: reader.userId }), () => recent.read(threadId, after, limit)?.map(({ sequence }) => sequence))
}

function fill (recent: RecentEvents, run: RunIdentity, from: number, to: number): void {
  for (let sequence = from; sequence <= to; sequence += 1) recent.add(eventOf(run, sequence))
}

t.test('the newest events of a thread are read in order, and only when all that were asked for are here', async (t) => {
  const recent = new RecentEvents({ perThread: 4, weight: 100 })
  const alice = newRun('alice')
  fill(recent, alice, 1, 6)

  t.same(readAs(alice, recent, alice, 2, 4), [3, 4, 5, 6])
  t.same(readAs(alice, recent, alice, 3, 2), [4, 5])
  t.equal(readAs(alice, recent, alice, 1, 2), undefined, 'the second is not here any more')
  t.equal(readAs(alice, recent, alice, 4, 3), undefined, 'nobody knows whether there is a seventh')
  t.equal(readAs(alice, recent, newRun('alice'), 0, 1), undefined)
})

// kill: the isOwner of `read` in lib/events/recent-events.ts.
t.test('another user gets nothing of a thread, as if it were not here', async (t) => {
  const recent = new RecentEvents({ perThread: 4, weight: 100 })
  const [alice, mallory] = [newRun('alice'), newRun('mallory')]
  fill(recent, alice, 1, 4)

  t.equal(readAs(mallory, recent, alice, 0, 4), undefined)
  t.same(readAs(alice, recent, alice, 0, 4), [1, 2, 3, 4])
  t.throws(() => recent.read(alice.threadId, 0, 4), { code: 'THREADLINE_NO_CONTEXT' })
})

t.test('what holds much text weighs more, so that the memory is bounded and not only the count', async (t) => {
  const recent = new RecentEvents({ perThread: 2, weight: 8 })
  const [alice, bob] = [newRun('alice'), newRun('bob')]
  const long = (run: RunIdentity, sequence: number, characters: number): ThreadEvent =>
    ({ ...eventOf(run, sequence), payload: { message: 'x'.repeat(characters), step: 0 } })

  recent.add(long(alice, 1, 3_500))
  t.equal(recent.weight, 4)
  recent.add(long(alice, 2, 10))
  recent.add(long(alice, 3, 10))
  t.equal(recent.weight, 2, 'what leaves its ring weighs nothing any more')
  recent.add(long(bob, 1, 7_000))
  t.same(readAs(alice, recent, alice, 1, 2), undefined, 'the lighter thread was used longer ago')
  t.same(readAs(bob, recent, bob, 0, 1), [1])
  recent.add(long(bob, 2, 9_000))
  t.equal(recent.weight, 0, 'what is too heavy by itself is not kept')
})

// kill: the isOwner of `forget` in lib/events/recent-events.ts.
t.test('a user lets go of a thread, or of all, and of no other user\'s', async (t) => {
  const recent = new RecentEvents({ perThread: 4, weight: 100 })
  const [first, second, his] = [newRun('alice'), newRun('alice'), newRun('bob')]
  for (const run of [first, second, his]) fill(recent, run, 1, 4)
  const forget = (user: RunIdentity, run?: RunIdentity): void => {
    enterThread(createIdentity({ userId: user.userId }), () => { recent.forget(run?.threadId) })
  }

  forget(his, first)
  t.equal(recent.weight, 12)
  forget(first, second)
  t.equal(readAs(first, recent, second, 0, 4), undefined)
  t.same(readAs(first, recent, first, 0, 4), [1, 2, 3, 4])
  forget(first)
  t.equal(readAs(first, recent, first, 0, 4), undefined)
  t.same(readAs(his, recent, his, 0, 4), [1, 2, 3, 4])
  t.equal(recent.weight, 4)
})

// kill: let `add` of lib/events/recent-events.ts go on with the ring whatever the sequence is.
t.test('a thread to which another process has appended starts anew', async (t) => {
  const recent = new RecentEvents({ perThread: 8, weight: 100 })
  const alice = newRun('alice')
  fill(recent, alice, 1, 3)
  fill(recent, alice, 5, 6)

  t.equal(readAs(alice, recent, alice, 2, 2), undefined)
  t.same(readAs(alice, recent, alice, 4, 2), [5, 6])
  t.equal(recent.weight, 2)
})

t.test('an event that is stored again changes nothing', async (t) => {
  const recent = new RecentEvents({ perThread: 8, weight: 100 })
  const alice = newRun('alice')
  fill(recent, alice, 1, 3)
  fill(recent, alice, 2, 2)

  t.same(readAs(alice, recent, alice, 0, 3), [1, 2, 3])
  t.equal(recent.weight, 3)
})

t.test('of all threads those stay that were told or read last', async (t) => {
  const recent = new RecentEvents({ perThread: 8, weight: 6 })
  const [first, second, third] = [newRun('alice'), newRun('bob'), newRun('carol')]
  fill(recent, first, 1, 2)
  fill(recent, second, 1, 2)
  fill(recent, third, 1, 2)
  readAs(first, recent, first, 0, 2)
  fill(recent, third, 3, 4)

  t.equal(recent.weight, 6)
  t.same(readAs(first, recent, first, 0, 2), [1, 2])
  t.equal(readAs(second, recent, second, 0, 2), undefined)
  t.same(readAs(third, recent, third, 0, 4), [1, 2, 3, 4])
})

t.test('whoever appends in between, what is read has no gap and no other thread in it, and no bound is passed', async (t) => {
  const runs = [newRun('alice'), newRun('alice'), newRun('bob')]
  const step = fc.record({ thread: fc.nat(2), by: fc.constantFrom('here', 'here', 'elsewhere'), after: fc.nat(20), limit: fc.integer({ min: 1, max: 8 }) })
  const holds = fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
    const recent = new RecentEvents({ perThread: 5, weight: 9 })
    const last = [0, 0, 0]
    for (const { thread, by, after, limit } of steps) {
      const run = runs[thread] ?? newRun('nobody')
      const sequence = (last[thread] ?? 0) + 1
      last[thread] = sequence
      if (by === 'here') recent.add(eventOf(run, sequence))
      const read = enterThread(run, () => recent.read(run.threadId, after, limit))
      const isWhole = read === undefined || (read.length === limit && read.every((event, index) =>
        event.sequence === after + 1 + index && event.thread_id === run.threadId))
      if (!isWhole || recent.weight > 9) return false
    }
    return true
  })

  t.doesNotThrow(() => { fc.assert(holds) })
})
