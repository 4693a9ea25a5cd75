import { setImmediate as immediate } from 'node:timers/promises'
import fc from 'fast-check'
import t from 'tap'
import { currentThread } from '../../lib/context/current-thread.ts'
import { Slots } from '../../lib/engine/slots.ts'
import { inRun, newRun } from '../support/identities.ts'

const { signal } = new AbortController()

t.test('as many as the limit work at the same time, and the others wait', async (t) => {
  const slots = new Slots(2)

  const release = await slots.acquire(signal)
  await slots.acquire(signal)
  const third = slots.acquire(signal)
  await immediate()
  t.same([slots.taken, slots.waiting], [2, 1])
  release()
  const releaseThird = await third

  t.same([slots.taken, slots.waiting], [2, 0])
  releaseThird()
  t.equal(slots.taken, 1)
})

t.test('a slot goes to the one who has waited longest', async (t) => {
  const slots = new Slots(1)
  const order: number[] = []
  const release = await slots.acquire(signal)

  const working = [1, 2, 3, 4].map(async (number) => {
    const done = await slots.acquire(signal)
    order.push(number)
    await immediate()
    done()
  })
  release()
  await Promise.all(working)

  t.same(order, [1, 2, 3, 4])
  t.same([slots.taken, slots.waiting], [0, 0])
})

t.test('nobody who comes later overtakes the one to whom a slot was just given', async (t) => {
  const slots = new Slots(1)
  const order: string[] = []
  const release = await slots.acquire(signal)
  const waiting = slots.acquire(signal).then((done) => { order.push('waited'); return done })

  release()
  const late = slots.acquire(signal).then((done) => { order.push('late'); return done })
  const done = await waiting
  done()
  const doneLate = await late
  doneLate()

  t.same(order, ['waited', 'late'])
  t.equal(slots.taken, 0)
})

t.test('F80 who is aborted while waiting leaves with the reason, and the others move up', async (t) => {
  const slots = new Slots(1)
  const stopping = new AbortController()
  const reason = new Error('stopped')
  const release = await slots.acquire(signal)

  const first = slots.acquire(stopping.signal)
  const second = slots.acquire(signal)
  stopping.abort(reason)
  await t.rejects(first, reason)
  t.same([slots.taken, slots.waiting], [1, 1])
  release()
  const releaseSecond = await second
  releaseSecond()

  t.same([slots.taken, slots.waiting], [0, 0])
})

t.test('who is aborted before asking takes nothing, and who is aborted after getting one keeps it', async (t) => {
  const slots = new Slots(1)
  const stopping = new AbortController()

  await t.rejects(slots.acquire(AbortSignal.abort(new Error('stopped'))), { message: 'stopped' })
  t.equal(slots.taken, 0)
  const release = await slots.acquire(stopping.signal)
  stopping.abort(new Error('stopped'))
  t.equal(slots.taken, 1)
  release()

  t.equal(slots.taken, 0)
})

t.test('an abort in the moment in which the slot is given does not lose it', async (t) => {
  const slots = new Slots(1)
  const stopping = new AbortController()
  const release = await slots.acquire(signal)
  const waiting = slots.acquire(stopping.signal)

  release()
  stopping.abort(new Error('stopped'))
  const done = await waiting
  done()

  t.same([slots.taken, slots.waiting], [0, 0])
})

t.test('releasing twice frees one slot', async (t) => {
  const slots = new Slots(2)
  const [first] = [await slots.acquire(signal), await slots.acquire(signal)]

  first()
  first()

  t.equal(slots.taken, 1)
  await slots.acquire(signal)
  const waiting = new AbortController()
  const fourth = slots.acquire(waiting.signal)
  await immediate()
  t.same([slots.taken, slots.waiting], [2, 1], 'the limit still holds')
  waiting.abort(new Error('enough'))
  await t.rejects(fourth)
})

// A promise does this by itself; a slot that called its waiter back would not.
t.test('who is given a slot goes on in its own identity, whoever gave it back', async (t) => {
  const slots = new Slots(1)
  const [alice, bob] = [newRun('alice'), newRun('bob')]
  const release = await slots.acquire(signal)

  const waiting = inRun(bob, async () => {
    const done = await slots.acquire(signal)
    const served = currentThread()
    done()
    return served
  })
  await inRun(alice, async () => { release() })

  t.equal(await waiting, bob)
})

t.test('whoever comes, leaves and gives up in whatever order, the limit holds and at the end all are free', async (t) => {
  const action = fc.oneof(fc.constant('come'), fc.constant('leave'), fc.constant('leave again'), fc.constant('give up'))

  await fc.assert(fc.asyncProperty(fc.integer({ min: 1, max: 3 }), fc.array(action, { maxLength: 30 }), async (limit, actions) => {
    const slots = new Slots(limit)
    const held: (() => void)[] = []
    const left: (() => void)[] = []
    const waiting = new Set<AbortController>()
    const settled: Promise<void>[] = []
    for (const one of actions) {
      if (one === 'come') {
        const controller = new AbortController()
        waiting.add(controller)
        settled.push(slots.acquire(controller.signal).then((release) => { held.push(release) }, () => {}).finally(() => waiting.delete(controller)))
      }
      if (one === 'leave') {
        const release = held.shift()
        release?.()
        if (release !== undefined) left.push(release)
      }
      if (one === 'leave again') left.at(-1)?.()
      if (one === 'give up') [...waiting][0]?.abort(new Error('enough'))
      await immediate()
      if (slots.taken > limit || slots.taken !== held.length || slots.waiting !== waiting.size || (slots.waiting > 0 && slots.taken < limit)) return false
    }
    while (waiting.size > 0 || held.length > 0) {
      held.shift()?.()
      await immediate()
    }
    await Promise.all(settled)
    return slots.taken === 0 && slots.waiting === 0
  }), { numRuns: 50 })
  t.pass()
})
