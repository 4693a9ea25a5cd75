import { once } from 'node:events'
import t, { type Test } from 'tap'
import { CanaryLoop, type CanaryLoopOptions } from '../../lib/canary/canary-loop.ts'
import { tryCurrentIdentity } from '../../lib/context/current-thread.ts'
import type { Logger } from '../../lib/context/logger.ts'
import { ThreadlineError } from '../../lib/errors.ts'
import { actingAs } from '../support/acting-as.ts'
import { watchCanary } from '../support/watch-canary.ts'

// The loop keeps no process alive; a server's listener does.
const alive = setInterval(() => {}, 60_000)
t.teardown(() => { clearInterval(alive) })

const aborted = async (signal: AbortSignal): Promise<void> => { if (!signal.aborted) await once(signal, 'abort') }

/** A loop that plays what the test plays, and waits no time between the rounds: how long it would have is kept. */
function build (t: Test, play: CanaryLoopOptions['play'], more: Partial<CanaryLoopOptions> = {}) {
  const waits: number[] = []
  const warnings: unknown[] = []
  const logger: Logger = { info () {}, warn: (fields) => { warnings.push(fields) }, error () {} }
  const watch = { crossings: 0 }
  const wait = async (ms: number, signal: AbortSignal): Promise<void> => {
    waits.push(ms)
    if (waits.length === 8) await aborted(signal)
  }
  const loop = new CanaryLoop({ play, watch, intervalMs: 10, logger, wait, ...more })
  t.teardown(() => loop.close())
  return { loop, watch, waits, warnings }
}

t.test('rounds that fail are played ever more rarely, until one does not', async (t) => {
  const canary = watchCanary(t)
  let played = 0
  const { loop, waits, warnings } = build(t, async () => {
    played += 1
    if (played <= 6) throw new Error('The database is gone')
  })

  const rounds = canary.next(8)
  loop.start()

  t.same((await rounds).map(({ outcome }) => outcome), [...Array<string>(6).fill('failed'), 'ok', 'ok'])
  t.same(waits, [20, 40, 80, 160, 160, 160, 10, 10])
  t.equal(warnings.length, 6)
})

t.test('a round in which something was found is no good one, and the next comes in its time', async (t) => {
  const canary = watchCanary(t)
  const { loop, watch, waits } = build(t, async () => { if (waits.length === 0) watch.crossings += 2 })

  const rounds = canary.next(2)
  loop.start()

  t.same(await rounds, [{ outcome: 'failed', crossings: 2 }, { outcome: 'ok', crossings: 0 }])
  t.same(waits.slice(0, 2), [10, 10])
})

t.test('a round that takes too long is given up, and has failed', async (t) => {
  const canary = watchCanary(t)
  const { loop, warnings } = build(t, async (signal) => {
    await aborted(signal)
    signal.throwIfAborted()
  }, { limitMs: 1 })

  const rounds = canary.next(1)
  loop.start()

  t.match(await rounds, [{ outcome: 'failed' }])
  t.match(warnings, [{ err: { code: 'THREADLINE_TIMED_OUT' } }])
})

t.test('rounds are played one after the other and in no one\'s name, whoever starts them', async (t) => {
  const canary = watchCanary(t)
  const names: unknown[] = []
  let playing = 0
  let most = 0
  const { loop } = build(t, async () => {
    names.push(tryCurrentIdentity())
    most = Math.max(most, playing += 1)
    await new Promise(setImmediate)
    playing -= 1
  })

  const rounds = canary.next(3)
  actingAs('alice', () => { loop.start() })
  loop.start()
  await rounds

  t.same(names.slice(0, 3), [undefined, undefined, undefined])
  t.equal(most, 1)
})

t.test('a loop that is closed gives its round up, and no round follows', async (t) => {
  const canary = watchCanary(t)
  const begun = Promise.withResolvers<void>()
  let cleared = false
  const { loop, warnings } = build(t, async (signal) => {
    begun.resolve()
    await aborted(signal)
    cleared = true
    signal.throwIfAborted()
  })
  loop.start()
  await begun.promise

  await loop.close()

  t.equal(cleared, true)
  t.same(canary.rounds, [])
  t.same(warnings, [])
})

t.test('a round whose gateway drains has not failed', async (t) => {
  const canary = watchCanary(t)
  const { loop, waits, warnings } = build(t, async () => { throw new ThreadlineError('THREADLINE_SHUTTING_DOWN') })

  loop.start()
  while (waits.length < 8) await new Promise(setImmediate)

  t.same(canary.rounds, [])
  t.same(warnings, [])
})

t.test('a loop that cannot clear away does not keep the server from closing', async (t) => {
  const begun = Promise.withResolvers<void>()
  const { loop } = build(t, async () => {
    begun.resolve()
    await new Promise(() => {})
  })
  loop.start()
  await begun.promise

  await t.resolves(loop.close())
})
