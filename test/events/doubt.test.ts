import t from 'tap'
import { Doubt, eitherDoubt } from '../../lib/events/doubt.ts'
import { createSilentLogger } from '../support/silent-logger.ts'

const createDoubt = (doubtful = false): Doubt => new Doubt(createSilentLogger(), doubtful)

// kill: the deletion in `on` of lib/events/doubt.ts.
t.test('who asked is told of each change once, also beside one that fails, and not after it has stopped asking', async (t) => {
  const doubt = createDoubt()
  const told: string[] = []
  doubt.on(() => { throw new Error('it failed') })
  const listener = (): void => { told.push(`first ${doubt.doubtful}`) }
  const stop = doubt.on(listener)
  const stopAgain = doubt.on(listener)

  stopAgain()
  doubt.set(true)
  doubt.set(true)
  t.same(told.splice(0), ['first true'], 'who asks twice has to stop twice')
  doubt.set(false)
  t.same(told.splice(0), ['first false'])
  stop()
  stop()
  doubt.set(true)
  doubt.tell()

  t.same(told, [])
})

// kill: one of the two of `eitherDoubt` in lib/events/doubt.ts, in each of its three places.
t.test('of two doubts each counts and each tells', async (t) => {
  const [one, other] = [createDoubt(), createDoubt()]
  const either = eitherDoubt(one, other)
  const told: boolean[] = []
  const stop = either.on(() => { told.push(either.doubtful) })

  for (const [doubt, doubtful] of [[one, true], [one, false], [other, true], [one, true], [other, false], [one, false]] as const) doubt.set(doubtful)
  t.same(told.splice(0), [true, false, true, true, true, false])
  stop()
  one.set(true)
  other.set(true)

  t.same(told, [])
})
