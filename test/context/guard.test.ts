import { SpanStatusCode } from '@opentelemetry/api'
import t from 'tap'
import { enterThread } from '../../lib/context/current-thread.ts'
import { guard, isOwner, type Owner } from '../../lib/context/guard.ts'
import { withHop } from '../../lib/context/hop.ts'
import { createIdentity, type RunIdentity } from '../../lib/context/identity.ts'
import { newRunId, newThreadId, toUserId } from '../../lib/protocol/ids.ts'
import { watchCounters } from '../support/counters.ts'
import { newRun } from '../support/identities.ts'
import { collectSpans } from '../support/spans.ts'
import { watchViolations } from '../support/violations.ts'

const spans = collectSpans()
const mismatch = { code: 'THREADLINE_CONTEXT_MISMATCH', statusCode: 500, retryable: false }

const [alice, bob] = [newRun('alice'), newRun('bob')]
const ownerOf = ({ userId, threadId, runId }: RunIdentity): Required<Owner> => ({ userId, threadId, runId })

t.test('the owner of a resource passes, and nothing is reported', async (t) => {
  const violations = watchViolations(t)
  const counts = watchCounters(t)
  const { userId, threadId, runId } = alice

  enterThread(alice, () => {
    guard({ userId }, 'storage')
    guard({ userId, threadId }, 'event-log')
    guard({ userId, threadId, runId }, 'socket.send')
    guard({ userId, threadId: undefined, runId: undefined }, 'emitter')
  })

  t.same(violations, [])
  t.same(counts, [])
})

// kill: guard returns without comparing.
t.test('D50 whatever of a resource is another\'s, it is refused as crossed', async (t) => {
  const violations = watchViolations(t)
  const foreign: readonly Owner[] = [
    { userId: bob.userId },
    { ...ownerOf(alice), userId: bob.userId },
    { ...ownerOf(alice), threadId: newThreadId() },
    { ...ownerOf(alice), threadId: null },
    { userId: alice.userId, threadId: null },
    { ...ownerOf(alice), runId: newRunId(alice.threadId) },
    ownerOf(bob)
  ]

  for (const owner of foreign) {
    t.throws(() => { enterThread(alice, () => { guard(owner, 'storage') }) }, mismatch, JSON.stringify(owner))
  }

  t.strictSame(violations, foreign.map((owner) => ({ place: 'storage', witness: 'guard', kind: 'crossed', owner, identity: alice })))
})

t.test('D50 a resource in a thread or of a run is not for an identity without one', async (t) => {
  const violations = watchViolations(t)
  const { userId, threadId, runId } = alice

  enterThread(createIdentity({ userId }), () => {
    t.throws(() => { guard({ userId, threadId }, 'storage') }, mismatch)
    t.throws(() => { guard({ userId, runId }, 'storage') }, mismatch)
    t.throws(() => { guard({ userId, threadId: null }, 'storage') }, mismatch, 'in no thread matches none')
    guard({ userId }, 'storage')
  })

  t.equal(violations.length, 3)
})

t.test('D50 without any identity it is refused as lost', async (t) => {
  const violations = watchViolations(t)

  t.throws(() => { guard({ userId: alice.userId }, 'connection-registry') }, mismatch)

  t.strictSame(violations, [{ place: 'connection-registry', witness: 'guard', kind: 'lost', owner: { userId: alice.userId }, identity: undefined }])
})

// kill: the line countViolation(violation).
t.test('D50 each refusal is counted by place and kind, and by no id', async (t) => {
  const counts = watchCounters(t)

  t.throws(() => { guard(ownerOf(bob), 'emitter') }, mismatch)
  t.throws(() => { enterThread(alice, () => { guard(ownerOf(bob), 'socket.send') }) }, mismatch)

  t.strictSame(counts, [
    { counter: 'threadline.context.violations', value: 1, attributes: { hop: 'emitter', kind: 'lost', witness: 'guard' } },
    { counter: 'threadline.context.violations', value: 1, attributes: { hop: 'socket.send', kind: 'crossed', witness: 'guard' } }
  ])
})

t.test('D50 each refusal marks the span in which it happened', async (t) => {
  spans.reset()

  enterThread(alice, () => {
    withHop('engine', {}, () => { t.throws(() => { guard(ownerOf(bob), 'storage') }, mismatch) })
  })

  const [span] = spans.spans()
  t.match(span?.attributes, { 'threadline.violation': 'crossed', 'error.type': 'THREADLINE_CONTEXT_MISMATCH', 'user.id': 'alice' })
  t.equal(span?.status.code, SpanStatusCode.ERROR)
})

t.test('a refusal tells nobody whose the resource is', async (t) => {
  const thrown = (): Error => {
    try {
      enterThread(alice, () => { guard(ownerOf(bob), 'storage') })
    } catch (error) {
      return error as Error
    }
    return new Error('not refused')
  }

  const { message } = thrown()

  for (const id of ['alice', 'bob', alice.threadId, bob.threadId, bob.runId]) t.notOk(message.includes(id), id)
})

t.test('asking whether an identity is the owner refuses and reports nothing', async (t) => {
  const violations = watchViolations(t)

  t.equal(isOwner(alice, ownerOf(alice)), true)
  t.equal(isOwner(alice, ownerOf(bob)), false)
  t.equal(isOwner(createIdentity({ userId: toUserId('alice') }), { userId: alice.userId }), true)
  t.same(violations, [])
})
