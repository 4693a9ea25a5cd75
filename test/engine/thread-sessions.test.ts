import { setImmediate as immediate } from 'node:timers/promises'
import t from 'tap'
import { currentThread, enterThread } from '../../lib/context/current-thread.ts'
import { createIdentity } from '../../lib/context/identity.ts'
import { ThreadSessions } from '../../lib/engine/thread-sessions.ts'
import { newThreadId, toUserId } from '../../lib/protocol/ids.ts'
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
})

// kill: the key of a session is its thread alone.
t.test('D54 when a user\'s session is released, another\'s is untouched, also under the same thread id', async (t) => {
  const sessions = new ThreadSessions()
  const threadId = newThreadId()
  const [alice, bob] = ['alice', 'bob'].map((user) => createIdentity({ userId: toUserId(user), threadId }))
  if (alice === undefined || bob === undefined) return

  const alices = enterThread(alice, () => sessions.obtain())
  const bobs = enterThread(bob, () => sessions.obtain())
  bobs.requested = true
  enterThread(alice, () => { sessions.release() })

  t.not(alices, bobs)
  t.equal(enterThread(alice, () => sessions.find()), undefined)
  t.equal(enterThread(bob, () => sessions.find()), bobs)
  t.equal(bobs.requested, true)
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
    old.requested = true
    old.doubtful = true
    sessions.release()
    sessions.release()
    const fresh = sessions.obtain()

    t.not(fresh, old)
    t.match(fresh, { requested: false, doubtful: false, loop: undefined })
  })
})

// kill: let `findAll` give all sessions.
t.test('D43 a user\'s sessions are those of all own threads, and nobody else\'s', async (t) => {
  const sessions = new ThreadSessions()
  const [first, second, bobs] = [newRun('alice'), newRun('alice'), newRun('bob')].map((run) => enterThread(run, () => sessions.obtain()))
  const all = (user: string): unknown => enterThread(createIdentity({ userId: toUserId(user) }), () => sessions.findAll())

  t.strictSame(all('alice'), [first, second])
  t.strictSame(all('bob'), [bobs])
  t.strictSame(all('carol'), [])
  t.throws(() => sessions.findAll(), noContext)
})

t.test('each session is visited in the name of its own thread', async (t) => {
  const sessions = new ThreadSessions()
  for (const user of ['alice', 'bob']) enterThread(newRun(user), () => sessions.obtain())
  const visited: unknown[] = []

  sessions.forEach(({ userId, threadId }) => {
    const active = currentThread()
    visited.push([active.userId === userId, active.threadId === threadId, active.runId])
  })

  t.same(visited, [[true, true, undefined], [true, true, undefined]])
})

t.test('the sessions are idle when all their loops have ended', async (t) => {
  const sessions = new ThreadSessions()
  const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  for (const [index, user] of ['alice', 'bob'].entries()) {
    enterThread(newRun(user), () => { sessions.obtain().loop = gates[index]?.promise })
  }
  let idle = false

  const waiting = sessions.idle().then(() => { idle = true })
  gates[0]?.resolve()
  await immediate()
  t.equal(idle, false)
  gates[1]?.resolve()
  await waiting

  await new ThreadSessions().idle()
})
