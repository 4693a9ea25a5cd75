import type { AsyncLocalStorage } from 'node:async_hooks'
import { EventEmitter } from 'node:events'
import { setImmediate as immediate } from 'node:timers/promises'
import { context, ROOT_CONTEXT, type Context } from '@opentelemetry/api'
import t from 'tap'
import { bindIterable, bindThread } from '../../lib/context/bind.ts'
import { tryCurrentThread } from '../../lib/context/current-thread.ts'
import { inRun, newRun } from '../support/identities.ts'

// kill of every test of bindThread: it returns `fn` as it is.
// kill of every test of bindIterable: it returns `iterable` as it is.

type Bind = typeof bindThread
const unbound: Bind = (fn) => fn
const currentUser = (): string => tryCurrentThread()?.userId ?? 'nobody'
const as = async <T>(user: string, fn: () => Promise<T>): Promise<T> => await inRun(newRun(user), fn)

interface Trap {
  readonly title: string
  /** Whom the work that is Bob's sees when nothing is bound. */
  readonly wrongly: string
  /** Springs the trap, and resolves with whom the work that is Bob's sees. */
  readonly spring: (bind: Bind) => Promise<string>
}

const traps: readonly Trap[] = [
  {
    title: 'a listener of an emitter runs in the context of the one who emits',
    wrongly: 'alice',
    async spring (bind) {
      const emitter = new EventEmitter()
      const seen: string[] = []
      await as('bob', async () => { emitter.on('news', bind(() => { seen.push(currentUser()) })) })
      await as('alice', async () => { emitter.emit('news') })
      return seen.join()
    }
  },
  {
    title: 'a listener runs in no context when the emitter is driven from outside, as a socket is',
    wrongly: 'nobody',
    async spring (bind) {
      const emitter = new EventEmitter()
      const seen: string[] = []
      await as('bob', async () => { emitter.on('message', bind(() => { seen.push(currentUser()) })) })
      emitter.emit('message')
      return seen.join()
    }
  },
  {
    title: 'a timer that the first comer has armed runs the work of all in the context of the first',
    wrongly: 'alice',
    async spring (bind) {
      const batch = createBatch()
      const alices = as('alice', async () => await new Promise<void>((resolve) => { batch(resolve) }))
      const seen = await as('bob', async () => await new Promise<string>((resolve) => { batch(bind(() => { resolve(currentUser()) })) }))
      await alices
      return seen
    }
  },
  {
    title: 'a pool wakes the one who waits in the context of the one who gives back',
    wrongly: 'alice',
    async spring (bind) {
      const pool = createPool()
      const seen: string[] = []
      await as('alice', async () => { pool.take(() => {}) })
      await as('bob', async () => { pool.take(bind(() => { seen.push(currentUser()) })) })
      await as('alice', async () => { pool.giveBack() })
      return seen.join()
    }
  },
  {
    title: 'a loop that the first comer has started works for all in the context of the first',
    wrongly: 'alice',
    async spring (bind) {
      const queue = createWorkerLoop()
      const alices = as('alice', async () => await new Promise<void>((resolve) => { queue(resolve) }))
      const seen = await as('bob', async () => await new Promise<string>((resolve) => { queue(bind(() => { resolve(currentUser()) })) }))
      await alices
      return seen
    }
  },
  {
    title: 'a single flight tells all who wait in the context of the one who took off',
    wrongly: 'alice',
    async spring (bind) {
      const load = createSingleFlight()
      const alices = as('alice', async () => await new Promise<void>((resolve) => { load('key', () => { resolve() }) }))
      const seen = await as('bob', async () => await new Promise<string>((resolve) => { load('key', bind(() => { resolve(currentUser()) })) }))
      await alices
      return seen
    }
  }
]

for (const { title, wrongly, spring } of traps) {
  t.test(`${title}, unless it is bound`, async (t) => {
    t.equal(await spring(unbound), wrongly, 'the trap is one')
    t.equal(await spring(bindThread), 'bob')
  })
}

t.test('a bound function keeps arguments, result and error, and leaves the context of its caller as it was', async (t) => {
  const bound = await as('bob', async () => bindThread((a: number, b: string) => `${currentUser()} ${a} ${b}`))
  const failing = await as('bob', async () => bindThread(() => { throw new Error(currentUser()) }))
  const waiting = await as('bob', async () => bindThread(async () => { await immediate(); return currentUser() }))

  await as('alice', async () => {
    t.equal(bound(1, 'x'), 'bob 1 x')
    t.throws(failing, { message: 'bob' })
    t.equal(await waiting(), 'bob')
    t.equal(currentUser(), 'alice')
  })
})

t.test('what is bound outside of any identity runs without one, also within one', async (t) => {
  const bound = bindThread(currentUser)

  t.equal(await as('alice', async () => bound()), 'nobody')
})

/** Yields whom its body sees: at its start, after an `await`, and at its end. */
async function * report (seen: string[]): AsyncGenerator<string> {
  try {
    yield currentUser()
    await immediate()
    yield currentUser()
  } catch (error) {
    seen.push(`caught ${(error as Error).message} as ${currentUser()}`)
  } finally {
    await immediate()
    seen.push(`ended as ${currentUser()}`)
  }
}

t.test('the body of an async generator runs in the context of whoever consumes it, unless it is bound', async (t) => {
  for (const [bind, expected] of [[(iterable: AsyncIterable<string>) => iterable, 'alice'], [bindIterable<string>, 'bob']] as const) {
    const seen: string[] = []
    const consumers: string[] = []

    const iterable = await as('bob', async () => bind(report(seen)))
    const items = await as('alice', async () => {
      const items: string[] = []
      for await (const item of iterable) {
        items.push(item)
        consumers.push(currentUser())
      }
      return items
    })

    t.same(items, [expected, expected])
    t.same(seen, [`ended as ${expected}`])
    t.same(consumers, ['alice', 'alice'], 'the consumer stays who it is')
  }
})

// kill: `context.with` in place of the snapshot, which gives nothing back where both are in one context.
t.test('what the body of a bound generator enters and does not leave, its consumer is not in', async (t) => {
  // oxlint-disable-next-line threadline/no-enter-with -- what is not to be done, and is done here
  const enter = (found: Context): void => { managerOf(context)._asyncLocalStorage.enterWith(found) }
  const foreign = await as('bob', async () => context.active())
  async function * body (): AsyncGenerator<string> {
    enter(foreign)
    yield currentUser()
  }

  const [items, after] = await as('alice', async () => {
    const items: string[] = []
    for await (const item of bindIterable(body())) items.push(`${item}, to ${currentUser()}`)
    return [items, currentUser()]
  })

  t.same(items, ['bob, to alice'])
  t.equal(after, 'alice')
})

t.test('a bound generator that is left early or thrown into ends in its own context', async (t) => {
  const seen: string[] = []
  const [left, thrown] = await as('bob', async () => [bindIterable(report(seen)), bindIterable(report(seen))] as const)

  await as('alice', async () => {
    for await (const item of left) { t.equal(item, 'bob'); break }
    const iterator = thrown[Symbol.asyncIterator]()
    await iterator.next()
    t.same(await iterator.throw?.(new Error('stop')), { done: true, value: undefined })
    t.equal(currentUser(), 'alice')
  })

  t.same(seen, ['ended as bob', 'caught stop as bob', 'ended as bob'])
})

t.test('a bound iterable is made in its own context too, and its error reaches the consumer', async (t) => {
  const made: string[] = []
  const failing: AsyncIterable<string> = {
    [Symbol.asyncIterator] () {
      made.push(currentUser())
      return { next: async () => { await immediate(); throw new Error(currentUser()) } }
    }
  }
  const bound = await as('bob', async () => bindIterable(failing))

  await as('alice', async () => { await t.rejects(async () => { for await (const item of bound) t.fail(item) }, { message: 'bob' }) })

  t.same(made, ['bob'])
})

t.test('an iterator that can only go forward is left and thrown into as the language does it', async (t) => {
  const counting: AsyncIterable<number> = { [Symbol.asyncIterator]: () => ({ next: async () => ({ done: false, value: 1 }) }) }
  const iterator = bindIterable(counting)[Symbol.asyncIterator]()

  t.same(await iterator.return?.(2), { done: true, value: 2 })
  await t.rejects(Promise.resolve(iterator.throw?.(new Error('stop'))), { message: 'stop' })
  for await (const item of bindIterable(counting)) { t.equal(item, 1); break }
})

t.test('whoever awaits needs no binding: each sees its own identity when a shared promise resolves', async (t) => {
  const shared = Promise.withResolvers<void>()
  const waiting = ['alice', 'bob', 'carol'].map(async (user) => await as(user, async () => { await shared.promise; return currentUser() }))

  await as('mallory', async () => { shared.resolve() })

  t.same(await Promise.all(waiting), ['alice', 'bob', 'carol'])
  t.equal(context.active(), ROOT_CONTEXT, 'and nothing is left active')
})

/** Gathers work until a timer of the first comer is over. */
function createBatch (): (work: () => void) => void {
  let gathered: (() => void)[] = []
  let timer: NodeJS.Timeout | undefined
  return (work) => {
    gathered.push(work)
    timer ??= setTimeout(() => {
      const batch = gathered
      gathered = []
      timer = undefined
      for (const one of batch) one()
    }, 1)
  }
}

/** One place; who gives it back wakes the next. */
function createPool (): { take (then: () => void): void, giveBack (): void } {
  const waiting: (() => void)[] = []
  let free = 1
  return {
    take (then) {
      if (free === 0) { waiting.push(then); return }
      free -= 1
      then()
    },
    giveBack () {
      const next = waiting.shift()
      if (next === undefined) free += 1
      else next()
    }
  }
}

/** A queue whose loop is started by whoever finds it standing. */
function createWorkerLoop (): (work: () => void) => void {
  const queue: (() => void)[] = []
  let running: Promise<void> | undefined
  const run = async (): Promise<void> => {
    for (let work = queue.shift(); work !== undefined; work = queue.shift()) {
      await immediate()
      work()
    }
    running = undefined
  }
  return (work) => {
    queue.push(work)
    running ??= run()
  }
}

/** One load for all who ask for a key at the same time. */
function createSingleFlight (): (key: string, then: (value: string) => void) => void {
  const flights = new Map<string, ((value: string) => void)[]>()
  return (key, then) => {
    const passengers = flights.get(key)
    if (passengers !== undefined) { passengers.push(then); return }
    const all = [then]
    flights.set(key, all)
    setImmediate(() => {
      flights.delete(key)
      for (const tell of all) tell(`value of ${key}`)
    })
  }
}

/** OpenTelemetry's own storage, for what nobody should do. */
function managerOf (api: typeof context): { readonly _asyncLocalStorage: AsyncLocalStorage<Context> } {
  return (api as unknown as { _getContextManager (): ReturnType<typeof managerOf> })._getContextManager() // private to the API
}
