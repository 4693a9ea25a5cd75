import { setImmediate as immediate } from 'node:timers/promises'
import t from 'tap'
import { enterThread } from '../../lib/context/current-thread.ts'
import { createIdentity } from '../../lib/context/identity.ts'
import { ThreadSessions } from '../../lib/engine/thread-sessions.ts'
import { newRunId, newThreadId, toUserId } from '../../lib/protocol/ids.ts'
import { inRun, newRun } from '../support/identities.ts'

const noContext = { code: 'THREADLINE_NO_CONTEXT' }

t.test('D53 ten who ask at the same time for one user and thread get one session', async (t) => {
  const sessions = new ThreadSessions()
  const { userId, threadId } = newRun('alice')
  const gate = Promise.withResolvers<void>()

  const asking = Array.from({ length: 10 }, async () => await inRun(createIdentity({ userId, threadId }), async () => {
    await gate.promise
    return sessions.obtain()
  }))
  gate.resolve()
  const obtained = await Promise.all(asking)

  t.equal(new Set(obtained).size, 1)
  t.equal(sessions.size, 1)
  t.match(obtained[0], { userId, threadId, requested: false, loop: undefined })
  t.equal(obtained[0]?.active.size, 0)
})

// kill: the key of a session is its thread alone.
t.test('D54 when a user\'s session is released, another\'s is untouched, also under the same thread id', async (t) => {
  const sessions = new ThreadSessions()
  const threadId = newThreadId()
  const [alice, bob] = ['alice', 'bob'].map((user) => createIdentity({ userId: toUserId(user), threadId }))
  if (alice === undefined || bob === undefined) return

  const alices = enterThread(alice, () => sessions.obtain())
  const bobs = enterThread(bob, () => sessions.obtain())
  const controller = new AbortController()
  bobs.active.set(newRunId(threadId), controller)
  enterThread(alice, () => { sessions.release() })

  t.not(alices, bobs)
  t.equal(enterThread(alice, () => sessions.find()), undefined)
  t.equal(enterThread(bob, () => sessions.find()), bobs)
  t.equal(bobs.active.size, 1)
  t.equal(controller.signal.aborted, false)
  t.equal(sessions.size, 1)
})

// kill: the key of a session is its user alone.
t.test('D43 only the active thread\'s session can be found, and none without a thread', async (t) => {
  const sessions = new ThreadSessions()
  const [alice, bob, again] = [newRun('alice'), newRun('bob'), newRun('alice')]
  const session = enterThread(alice, () => sessions.obtain())

  t.equal(enterThread(alice, () => sessions.find()), session)
  t.equal(enterThread(bob, () => sessions.find()), undefined)
  t.equal(enterThread(again, () => sessions.find()), undefined, 'another thread of the user')
  t.equal(enterThread(createIdentity({ userId: alice.userId }), () => sessions.find()), undefined)
  t.equal(sessions.find(), undefined)
})

t.test('J123 outside of a thread a session can neither be made nor released', async (t) => {
  const sessions = new ThreadSessions()

  t.throws(() => sessions.obtain(), noContext)
  t.throws(() => { sessions.release() }, noContext)
  enterThread(createIdentity({ userId: toUserId('alice') }), () => {
    t.throws(() => sessions.obtain(), noContext)
    t.throws(() => { sessions.release() }, noContext)
  })
  t.equal(sessions.size, 0)
})

t.test('K128 after its release a thread gets a new session, with nothing of the old one', async (t) => {
  const sessions = new ThreadSessions()
  const alice = newRun('alice')

  await inRun(alice, async () => {
    const old = sessions.obtain()
    old.active.set(alice.runId, new AbortController())
    old.requested = true
    sessions.release()
    sessions.release()
    const fresh = sessions.obtain()

    t.not(fresh, old)
    t.match(fresh, { requested: false, loop: undefined })
    t.equal(fresh.active.size, 0)
  })
})

t.test('the server stops every run at its end, with one reason, and knows when all loops have ended', async (t) => {
  const sessions = new ThreadSessions()
  const reason = new Error('the server stops')
  const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const controllers = ['alice', 'bob'].map((user, index) => {
    const run = newRun(user)
    const controller = new AbortController()
    enterThread(run, () => {
      const session = sessions.obtain()
      session.active.set(run.runId, controller)
      session.loop = gates[index]?.promise
    })
    return controller
  })
  let idle = false

  sessions.abortAll(reason)
  const waiting = sessions.idle().then(() => { idle = true })
  gates[0]?.resolve()
  await immediate()
  t.equal(idle, false)
  gates[1]?.resolve()
  await waiting

  t.ok(controllers.every(({ signal }) => signal.aborted && signal.reason === reason))
  await new ThreadSessions().idle()
})
