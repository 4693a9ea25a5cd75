import { setImmediate as immediate } from 'node:timers/promises'
import t from 'tap'
import { currentThread, tryCurrentIdentity } from '../../lib/context/current-thread.ts'
import { GroupCommit, type GroupCommitOptions } from '../../lib/events/group-commit.ts'
import { createArrivals, type Arrivals } from '../support/arrivals.ts'
import { inRun, newRun } from '../support/identities.ts'

interface Batch { readonly items: readonly number[], readonly write: (results?: readonly string[]) => void, readonly fail: (error: Error) => void }

/** A group commit of numbers, each batch of which is written when the test says so. */
function startGroup (limits: Partial<GroupCommitOptions<number, string>> = {}): { group: GroupCommit<number, string>, batches: Arrivals<Batch> } {
  const batches = createArrivals<Batch>()
  const group = new GroupCommit<number, string>({
    commit: async (items) => await new Promise((resolve, reject) => {
      batches.push({ items, write: (results = items.map(String)) => { resolve(results) }, fail: reject })
    }),
    maxBatch: 100,
    maxWaiting: 100,
    ...limits
  })
  return { group, batches }
}

t.test('what is handed in at the same time is one batch, and what comes while it is written is the next', async (t) => {
  const { group, batches } = startGroup()

  const first = [1, 2, 3].map(async (item) => await group.add(item))
  const one = await batches.next()
  const second = [4, 5].map(async (item) => await group.add(item))
  await immediate()
  t.equal(batches.waiting.length, 0, 'one batch at a time')
  one.write()
  t.same(await Promise.all(first), ['1', '2', '3'])
  const two = await batches.next()
  two.write()

  t.same([one.items, two.items], [[1, 2, 3], [4, 5]])
  t.same(await Promise.all(second), ['4', '5'])
})

t.test('the order of the calls is the order of writing and of the answers, over the limits of batches', async (t) => {
  const { group, batches } = startGroup({ maxBatch: 3 })
  const answered: string[] = []

  const adding = Array.from({ length: 8 }, async (_, item) => { answered.push(await group.add(item)) })
  const written: number[] = []
  for (let batch = 0; batch < 3; batch += 1) {
    const { items, write } = await batches.next()
    t.ok(items.length <= 3)
    written.push(...items)
    write()
  }
  await Promise.all(adding)

  t.same(written, [0, 1, 2, 3, 4, 5, 6, 7])
  t.same(answered, written.map(String))
})

t.test('what cannot be written is refused alone, and the others are written in their order', async (t) => {
  // kill: no halves in `#writeBatch` of lib/events/group-commit.ts
  const written: number[] = []
  const asked: number[] = []
  const group = new GroupCommit<number, string>({
    commit: async (items) => {
      asked.push(items.length)
      if (items.includes(5)) throw new TypeError('too large')
      written.push(...items)
      return items.map(String)
    },
    isOfOne: (error) => error instanceof TypeError,
    maxBatch: 100,
    maxWaiting: 100
  })

  const answers = await Promise.allSettled([1, 2, 3, 4, 5, 6, 7, 8].map(async (item) => await group.add(item)))

  t.same(written, [1, 2, 3, 4, 6, 7, 8])
  t.same(answers.flatMap((answer, index) => answer.status === 'rejected' ? [index + 1] : []), [5])
  t.same(asked, [8, 4, 4, 2, 1, 1, 2])
})

t.test('after a pause it starts anew', async (t) => {
  const { group, batches } = startGroup()

  for (const item of [1, 2]) {
    const added = group.add(item)
    const { write } = await batches.next()
    write()
    t.equal(await added, String(item))
    await immediate()
  }
})

t.test('G93 more than may wait is refused at once with an error that says to try again, and there is room again afterwards', async (t) => {
  const { group, batches } = startGroup({ maxWaiting: 2 })
  const refused = { code: 'THREADLINE_STORAGE_UNAVAILABLE', retryable: true }

  const writing = group.add(1)
  const one = await batches.next()
  const waiting = [group.add(2), group.add(3)]
  await t.rejects(group.add(4), refused)
  await t.rejects(group.add(5), refused)
  one.write()
  await writing
  const two = await batches.next()
  const late = group.add(6)
  two.write()
  const three = await batches.next()
  three.write()

  t.same(await Promise.all([...waiting, late]), ['2', '3', '6'])
  t.same([two.items, three.items], [[2, 3], [6]])
})

t.test('an error is that of its batch alone', async (t) => {
  const { group, batches } = startGroup()
  const error = new Error('the disk is full')

  const failing = [group.add(1), group.add(2)]
  const one = await batches.next()
  const next = group.add(3)
  one.fail(error)
  t.same(await Promise.allSettled(failing), [{ status: 'rejected', reason: error }, { status: 'rejected', reason: error }])
  const two = await batches.next()
  two.write()

  t.equal(await next, '3')
})

t.test('a commit that throws before it waits is an error like any other', async (t) => {
  const { group } = startGroup({ commit: () => { throw new Error('not connected') } })

  await t.rejects(group.add(1), { message: 'not connected' })
  await t.rejects(group.add(2), { message: 'not connected' })
})

t.test('an item without an answer fails, and those with one do not', async (t) => {
  const { group, batches } = startGroup()

  const added = [group.add(1), group.add(2)]
  const { write } = await batches.next()
  write(['1'])

  t.match(await Promise.allSettled(added), [{ value: '1' }, { reason: { code: 'THREADLINE_INTERNAL' } }])
})

t.test('what was committed is told before the callers are, and not when it failed', async (t) => {
  const told: unknown[] = []
  const { group, batches } = startGroup({ committed: (items, results) => { told.push([items, results]) } })

  const added = group.add(1).then(() => { told.push('the caller') })
  const one = await batches.next()
  one.write()
  await added
  const failing = group.add(2)
  const two = await batches.next()
  two.fail(new Error('no'))

  await t.rejects(failing)
  t.same(told, [[[1], ['1']], 'the caller'])
})

// kill: the loop is started without context.with(ROOT_CONTEXT, …).
t.test('J122 the loop runs in no one\'s context, whoever has started it, and each caller goes on in its own', async (t) => {
  const seen: unknown[] = []
  const { group, batches } = startGroup({
    commit: async (items) => {
      seen.push(tryCurrentIdentity())
      await new Promise<void>((resolve) => { batches.push({ items, write: () => { resolve() }, fail: () => {} }) })
      seen.push(tryCurrentIdentity())
      return items.map(String)
    },
    committed: () => { seen.push(tryCurrentIdentity()) }
  })
  const add = async (user: string, item: number): Promise<string> =>
    await inRun(newRun(user), async () => { await group.add(item); return currentThread().userId })

  const added = [add('alice', 1)]
  const one = await batches.next()
  added.push(add('bob', 2), add('carol', 3))
  one.write()
  const two = await batches.next()
  two.write()

  t.same(await Promise.all(added), ['alice', 'bob', 'carol'])
  t.same(seen, [undefined, undefined, undefined, undefined, undefined, undefined])
})

t.test('closing writes what waits, and refuses what comes later', async (t) => {
  const { group, batches } = startGroup()

  const added = [group.add(1)]
  const one = await batches.next()
  added.push(group.add(2))
  let closed = false
  const closing = group.close().then(() => { closed = true })
  await t.rejects(group.add(3), { code: 'THREADLINE_SHUTTING_DOWN' })
  one.write()
  const two = await batches.next()
  t.equal(closed, false)
  two.write()
  await closing

  t.same(await Promise.all(added), ['1', '2'])
  await startGroup().group.close()
})
