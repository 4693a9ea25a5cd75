import { once, EventEmitter } from 'node:events'
import { setImmediate } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { tryCurrentIdentity } from '../../lib/context/current-thread.ts'
import { PurgeLoop } from '../../lib/storage/purge-loop.ts'
import type { Purged, Upkeep } from '../../lib/stores/upkeep.ts'
import { createSilentLogger } from '../support/silent-logger.ts'
import { as, newcomer } from '../support/storage-databases.ts'

type What = Parameters<Upkeep['purge']>[0]

// The loop keeps no process alive; a server's listener does.
const alive = setInterval(() => {}, 60_000)
t.teardown(() => { clearInterval(alive) })

const nothing: Purged = { threads: 0, events: 0 }
const dayMs = 24 * 60 * 60 * 1_000

/** A loop on what `purge` answers by the number of the call, from 1. Closed with the test. */
function start (t: Test, purge: (call: number, what: What) => Promise<Purged>, options: { intervalMs?: number, eventRetentionDays?: number } = {}) {
  const calls: What[] = []
  const called = new EventEmitter()
  const logger = createSilentLogger()
  const loop = new PurgeLoop({
    upkeep: {
      purge: async (what) => {
        calls.push(what)
        const answer = purge(calls.length, what)
        called.emit(`${calls.length}`)
        return await answer
      }
    },
    threadRetentionDays: 30,
    eventRetentionDays: 0,
    intervalMs: 1,
    logger,
    ...options
  })
  t.teardown(async () => { await loop.close() })
  const nthCall = async (call: number) => { if (calls.length < call) await once(called, `${call}`) }
  return { loop, calls, logger, nthCall }
}

t.test('it purges at once, and again at every interval', async (t) => {
  const { loop, calls, nthCall } = start(t, async () => nothing)

  loop.start()
  loop.start()
  t.equal(calls.length, 1, 'at once, and once')
  await nthCall(3)

  const [{ deletedBefore, eventsBefore } = {}] = calls
  t.ok(Math.abs(Date.now() - 30 * dayMs - Number(deletedBefore)) < dayMs / 2)
  t.equal(eventsBefore, undefined)
})

t.test('events are kept for as long as it is said', async (t) => {
  const { loop, calls } = start(t, async () => nothing, { eventRetentionDays: 7 })

  loop.start()

  t.ok(Math.abs(Date.now() - 7 * dayMs - Number(calls[0]?.eventsBefore)) < dayMs / 2)
})

t.test('after a full batch the next one follows at once, and the sum is told', async (t) => {
  const answers: readonly Purged[] = [{ threads: 100, events: 0 }, { threads: 100, events: 5 }, { threads: 3, events: 7 }, { threads: 1, events: 0 }]
  const finished = Promise.withResolvers<void>()
  const { loop, calls, logger } = start(t, async (call) => {
    if (call === answers.length) void setImmediate().then(() => { finished.resolve() })
    return answers[call - 1] ?? nothing
  }, { intervalMs: dayMs })

  loop.start()
  await finished.promise

  t.equal(calls.length, 4)
  t.ok(calls.every(({ limit, deletedBefore }) => limit === 100 && deletedBefore === calls[0]?.deletedBefore))
  t.match(logger.lines, [{ level: 'info', fields: { threads: 204, events: 12 } }])
})

t.test('never two at a time', async (t) => {
  let [running, most] = [0, 0]
  const { loop, nthCall } = start(t, async () => {
    running += 1
    most = Math.max(most, running)
    await setImmediate()
    running -= 1
    return nothing
  })

  loop.start()
  await nthCall(5)

  t.equal(most, 1)
})

t.test('a purge that fails is logged, and tried again', async (t) => {
  const { loop, logger, nthCall } = start(t, async (call) => {
    if (call === 1) throw new Error('The storage is away')
    return nothing
  })

  loop.start()
  await nthCall(2)

  t.match(logger.lines, [{ level: 'warn', fields: { err: { message: 'The storage is away' } } }])
})

t.test('closing aborts the purge that runs, waits for it, and lets none follow', async (t) => {
  const { loop, calls } = start(t, async (_call, { signal }) => {
    if (signal !== undefined) await once(signal, 'abort')
    await setImmediate()
    ended = true
    return { threads: 100, events: 0 }
  })
  let ended = false

  loop.start()
  await loop.close()

  t.equal(ended, true)
  t.equal(calls.length, 1)
  await loop.close()
})

t.test('one that was never started is closed at once', async (t) => {
  const { loop, calls } = start(t, async () => nothing)

  await loop.close()

  t.equal(calls.length, 0)
})

t.test('it runs in nobody\'s context, whoever starts it', async (t) => {
  // kill: leave ROOT_CONTEXT out of `start` in lib/storage/purge-loop.ts
  const identities: unknown[] = []
  const { loop, nthCall } = start(t, async () => { identities.push(tryCurrentIdentity()); return nothing })

  as(newcomer(), () => { loop.start() })
  await nthCall(2)

  t.same(identities.slice(0, 2), [undefined, undefined])
})
