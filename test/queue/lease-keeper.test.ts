import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { enterThread, tryCurrentIdentity } from '../../lib/context/current-thread.ts'
import { LeaseKeeper } from '../../lib/queue/lease-keeper.ts'
import type { LeasedRun, RenewedRun } from '../../lib/stores/queue-store.ts'
import { createArrivals } from '../support/arrivals.ts'
import { newRun } from '../support/identities.ts'
import { createSilentLogger } from '../support/silent-logger.ts'

interface Question { readonly runs: readonly LeasedRun[], readonly answer: (runs: readonly RenewedRun[]) => void, readonly fail: () => void }

const leaseMs = 90

function createKeeper () {
  const questions = createArrivals<Question>()
  const logger = createSilentLogger()
  const clock = { now: 0 }
  const asked: unknown[] = []
  const keeper = new LeaseKeeper({
    store: {
      renew: async (_lease, runs) => await new Promise((resolve, reject) => {
        asked.push(tryCurrentIdentity())
        questions.push({ runs, answer: resolve, fail: () => { reject(new Error('away')) } })
      })
    },
    lease: { worker: 'worker', leaseMs },
    logger,
    now: () => clock.now
  })
  return { keeper, questions, logger, clock, asked }
}

function createHolder () {
  const heard: string[] = []
  return { heard, holder: { lost: () => { heard.push('lost') }, stop: (reason: string) => { heard.push(reason) } } }
}

const leased = (attempt = 1): LeasedRun => ({ runId: newRun('alice').runId, attempt })
const renewed = (run: LeasedRun, stopReason: string | null = null): RenewedRun => ({ ...run, stopReason })
/** The keeper's own timers keep no process alive. */
const awake = setInterval(() => {}, 1_000)
t.teardown(() => { clearInterval(awake) })

t.test('all runs are renewed by one question, in nobody\'s name, and what is not in the answer is lost, once', async (t) => {
  // kill: no `this.#lose(held)` in `#heard` of lib/queue/lease-keeper.ts
  const { keeper, questions, asked } = createKeeper()
  const [kept, gone, stopped] = [leased(), leased(2), leased()]
  const [keptHolder, goneHolder, stoppedHolder] = [createHolder(), createHolder(), createHolder()]
  enterThread(newRun('alice'), () => { keeper.hold(kept, 0, keptHolder.holder) })
  keeper.hold(gone, 0, goneHolder.holder)
  keeper.hold(stopped, 0, stoppedHolder.holder)

  const first = await questions.next()
  first.answer([renewed(kept), renewed(stopped, 'cancelled')])
  const second = await questions.next()
  await keeper.close()

  t.same(first.runs, [kept, gone, stopped])
  t.same(second.runs, [kept, stopped])
  t.same([keptHolder.heard, goneHolder.heard, stoppedHolder.heard], [[], ['lost'], ['cancelled']])
  t.same(asked, [undefined, undefined])
})

t.test('what was let go while the answer was on its way is not lost', async (t) => {
  const { keeper, questions } = createKeeper()
  const { holder, heard } = createHolder()
  const letGo = keeper.hold(leased(), 0, holder)

  const question = await questions.next()
  letGo()
  question.answer([])
  await turn()
  await keeper.close()

  t.same(heard, [])
  t.equal(keeper.size, 0)
})

t.test('questions that fail lose nothing while the lease is good, counted from before the last that was answered, and everything after that', async (t) => {
  // kill: count `goodUntil` from the answer in `#renew` of lib/queue/lease-keeper.ts
  const { keeper, questions, clock, logger } = createKeeper()
  const { holder, heard } = createHolder()
  const run = leased()
  keeper.hold(run, 0, holder)

  const first = await questions.next()
  clock.now = 60
  first.answer([renewed(run)]) // asked at 0: good until 90
  const second = await questions.next()
  clock.now = 89
  second.fail()
  const third = await questions.next()
  const early = [...heard]
  clock.now = 90
  third.fail()
  await turn()
  await turn()

  t.same(early, [])
  t.same(heard, ['lost'])
  t.equal(logger.lines.length, 2)
  await keeper.close()
})

t.test('an answer that does not come in time is none', async (t) => {
  const { keeper, questions, clock } = createKeeper()
  const lost = Promise.withResolvers<void>()
  keeper.hold(leased(), 0, { lost: lost.resolve, stop () {} })

  await questions.next()
  clock.now = leaseMs
  await lost.promise

  t.equal(keeper.size, 0)
  await keeper.close()
})

t.test('nothing is asked while nothing is held', async (t) => {
  const { keeper, questions } = createKeeper()

  keeper.hold(leased(), 0, createHolder().holder)()
  await new Promise((resolve) => { setTimeout(resolve, leaseMs) })

  t.same(questions.waiting, [])
  await keeper.close()
})
