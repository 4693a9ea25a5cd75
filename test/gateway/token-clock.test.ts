import t, { type Test } from 'tap'
import { TokenClock } from '../../lib/gateway/token-clock.ts'
import { createArrivals, type Arrivals } from '../support/arrivals.ts'

const day = 86_400_000
const later = (ms: number): Date => new Date(Date.now() + ms)

interface Watch { readonly clock: TokenClock, readonly told: Arrivals<Date | 'expired'> }

/** A clock that gives notice that long before the end; stopped with the test. */
function startClock (t: Test, noticeMs: number): Watch {
  const told = createArrivals<Date | 'expired'>()
  const clock = new TokenClock({
    noticeMs, expiring: (expiresAt) => { told.push(expiresAt) }, expired: () => { told.push('expired') }
  })
  t.teardown(() => { clock.stop() })
  return { clock, told }
}

/** Resolves when every timer that was due before it has fired. */
async function waitLonger (t: Test): Promise<void> {
  const { clock, told } = startClock(t, 0)
  clock.set(later(30))
  await told.next()
  await told.next()
}

t.test('the end of a token is announced in time, and then told, in that order', async (t) => {
  const { clock, told } = startClock(t, 20)
  const expiresAt = later(40)

  clock.set(expiresAt)
  const announced = await told.next()
  const announcedAt = Date.now()
  const ended = await told.next()

  t.same([announced, ended], [expiresAt, 'expired'])
  t.ok(announcedAt >= expiresAt.getTime() - 21 && Date.now() >= expiresAt.getTime() - 1)
})

t.test('H101 a token that has expired is announced and over at once', async (t) => {
  for (const expiresAt of [later(-1), later(-day), new Date(0)]) {
    const { clock, told } = startClock(t, 10)
    clock.set(expiresAt)
    t.same([await told.next(), await told.next()], [expiresAt, 'expired'])
  }
})

t.test('a fresh token starts it anew: the old end is not told', async (t) => {
  const { clock, told } = startClock(t, 0)

  clock.set(later(5))
  clock.set(later(day))
  await waitLonger(t)

  t.same(told.waiting, [])
})

t.test('a fresh token that is set upon the announcement starts it anew as well', async (t) => {
  const told: (Date | 'expired')[] = []
  const [short, fresh] = [later(5), later(day)]
  const clock = new TokenClock({
    noticeMs: 5,
    expiring: (expiresAt) => { told.push(expiresAt); clock.set(fresh) },
    expired: () => { told.push('expired') }
  })
  t.teardown(() => { clock.stop() })

  clock.set(short)
  await waitLonger(t)

  t.same(told, [short])
})

t.test('K130 a clock that is stopped tells nothing, also when it is stopped by its own announcement', async (t) => {
  const { clock, told } = startClock(t, 0)
  const announced: Date[] = []
  const self = new TokenClock({
    noticeMs: 5,
    expiring: (expiresAt) => { announced.push(expiresAt); self.stop() },
    expired: () => { announced.push(new Date(0)) }
  })

  clock.set(later(5))
  clock.stop()
  clock.stop()
  self.set(later(5))
  await waitLonger(t)

  t.same(told.waiting, [])
  t.equal(announced.length, 1)
})

// A timer of Node that is set for longer than 24.8 days fires at once.
t.test('a token may be good for longer than a timer can wait', async (t) => {
  const { clock, told } = startClock(t, day)

  clock.set(later(400 * day))
  await waitLonger(t)

  t.same(told.waiting, [])
})
