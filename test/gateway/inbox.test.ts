import { setImmediate as immediate } from 'node:timers/promises'
import t from 'tap'
import { Inbox } from '../../lib/gateway/inbox.ts'
import { createArrivals } from '../support/arrivals.ts'

interface Work { readonly frame: number, readonly end: () => void, readonly fail: (error: Error) => void }

/** An inbox of numbers; the work on each ends when the test says so. */
function startInbox (limit = 100) {
  const work = createArrivals<Work>()
  const failures: unknown[] = []
  const inbox = new Inbox<number>({
    limit,
    work: async (frame) => await new Promise<void>((resolve, reject) => { work.push({ frame, end: resolve, fail: reject }) }),
    failed: (error) => { failures.push(error) }
  })
  return { inbox, work, failures }
}

t.test('G94 frames are worked on one after the other, in order of arrival, each once', async (t) => {
  const { inbox, work } = startInbox()
  const order: number[] = []

  for (const frame of [1, 2, 3]) t.equal(inbox.push(frame), true)
  for (let count = 0; count < 5; count += 1) {
    const { frame, end } = await work.next()
    order.push(frame)
    if (frame === 1) for (const late of [4, 5]) inbox.push(late)
    await immediate()
    t.equal(work.waiting.length, 0, 'the next one waits')
    end()
  }
  await immediate()

  t.same(order, [1, 2, 3, 4, 5])
  t.equal(work.waiting.length, 0)
})

t.test('after a pause it works again', async (t) => {
  const { inbox, work } = startInbox()

  for (const frame of [1, 2]) {
    inbox.push(frame)
    const begun = await work.next()
    t.equal(begun.frame, frame)
    begun.end()
    await immediate()
  }
})

t.test('a frame that is pushed by the work on another waits for its turn', async (t) => {
  const order: string[] = []
  const done = Promise.withResolvers<void>()
  const inbox = new Inbox<string>({
    limit: 10,
    async work (frame) {
      order.push(`${frame} begins`)
      await immediate()
      if (frame === 'first') inbox.push('third')
      order.push(`${frame} ends`)
      if (frame === 'third') done.resolve()
    },
    failed: (error) => { done.reject(error) }
  })

  inbox.push('first')
  inbox.push('second')
  await done.promise

  t.same(order, ['first begins', 'first ends', 'second begins', 'second ends', 'third begins', 'third ends'])
})

t.test('G93 a frame that finds it full is not taken, and there is room again when one has been', async (t) => {
  const { inbox, work } = startInbox(2)

  inbox.push(1)
  const first = await work.next()
  t.same([inbox.push(2), inbox.push(3), inbox.push(4)], [true, true, false], 'what is worked on does not wait')
  t.equal(inbox.waiting, 2)
  first.end()
  const second = await work.next()
  t.equal(inbox.push(5), true)
  second.end()
  const rest = [await work.next()]
  rest[0]?.end()
  rest.push(await work.next())

  t.same(rest.map(({ frame }) => frame), [3, 5])
})

t.test('H113 work that fails is reported, and the next frame is worked on', async (t) => {
  const { inbox, work, failures } = startInbox()
  const error = new Error('no')

  inbox.push(1)
  inbox.push(2)
  const first = await work.next()
  first.fail(error)
  const second = await work.next()
  second.end()

  t.equal(second.frame, 2)
  t.strictSame(failures, [error])
})

t.test('H113 work that throws before it waits is reported too', async (t) => {
  const failures: unknown[] = []
  const done = Promise.withResolvers<void>()
  const inbox = new Inbox<number>({
    limit: 10,
    work (frame) {
      if (frame === 1) throw new Error('no')
      done.resolve()
      return Promise.resolve()
    },
    failed: (error) => { failures.push(error) }
  })

  inbox.push(1)
  inbox.push(2)
  await done.promise

  t.match(failures, [{ message: 'no' }])
})

t.test('A11 closed, it forgets what waits and takes nothing, and what is being worked on goes on', async (t) => {
  const { inbox, work, failures } = startInbox()

  inbox.push(1)
  inbox.push(2)
  const first = await work.next()
  inbox.close()
  inbox.close()
  t.equal(inbox.push(3), false)
  t.equal(inbox.waiting, 0)
  first.end()
  await immediate()

  t.equal(work.waiting.length, 0)
  t.same(failures, [])
})
