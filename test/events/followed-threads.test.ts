import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { currentIdentity } from '../../lib/context/current-thread.ts'
import { createIdentity } from '../../lib/context/identity.ts'
import { ThreadlineError } from '../../lib/errors.ts'
import { Doubt } from '../../lib/events/doubt.ts'
import type { EventBus, Receive } from '../../lib/events/event-bus.ts'
import { FollowedThreads } from '../../lib/events/followed-threads.ts'
import type { ThreadEvent } from '../../lib/protocol/events.ts'
import type { UserId } from '../../lib/protocol/ids.ts'
import { createSilentLogger } from '../support/silent-logger.ts'
import { deltaOf, threadTopic, until } from './bus-contract.ts'

const never = 60_000

interface Following {
  readonly doubtfulPollIntervalMs?: number
  readonly reading?: () => Promise<void>
  /** Whether the follower says at once that it knows nothing of the thread yet. */
  readonly stands?: boolean
  /** Who follows the thread before its owner does. */
  readonly before?: readonly UserId[]
  /** Whether the database knows the thread. */
  readonly isKnown?: () => boolean
}

/** A thread that is followed, the log that it is in, and a bus whose hints and doubts are the test's. */
function follow (t: Test, { doubtfulPollIntervalMs = never, reading = async () => {}, stands = true, before = [], isKnown = () => true }: Following = {}) {
  const topic = threadTopic('alice')
  const { userId, threadId } = topic
  const logger = createSilentLogger()
  const doubt = new Doubt(logger, false)
  const stored: ThreadEvent[] = []
  const told: ThreadEvent[] = []
  const asked = { positions: 0, atOnce: 0, most: 0 }
  const gone: UserId[] = []
  let receive: Receive = () => {}
  const bus: EventBus = {
    node: 'here',
    publish () {},
    subscribe (_topic, given) {
      receive = given
      return () => {}
    },
    get doubtful () { return doubt.doubtful },
    onDoubt: (listener) => doubt.on(listener),
    subscribed: 1,
    async close () {}
  }
  const threads = new FollowedThreads({
    epoch: 'e1',
    logger,
    peers: { bus, pollIntervalMs: never, doubtfulPollIntervalMs },
    tell: (_followers, event) => { told.push(event) },
    store: {
      async positions () {
        asked.positions += 1
        return new Map(isKnown() ? [[threadId, { userId, sequence: stored.length }]] : [])
      },
      async read (_threadId, after) {
        asked.atOnce += 1
        asked.most = Math.max(asked.most, asked.atOnce)
        await reading()
        asked.atOnce -= 1
        if (currentIdentity().userId !== userId) throw new ThreadlineError('THREADLINE_THREAD_NOT_FOUND')
        return stored.slice(after)
      }
    }
  })
  t.teardown(async () => { await threads.close() })
  const join = (each: UserId = userId): void => {
    threads.follow(threadId, { owner: createIdentity({ userId: each, threadId }), receive () {}, gone: () => { gone.push(each) } })
  }
  for (const each of [...before, userId]) join(each)
  const stand = (): void => { threads.stand(threadId, 0) }
  if (stands) stand()
  const eventsOf = (...sequences: readonly number[]): readonly ThreadEvent[] => sequences.map((sequence) => deltaOf(topic, sequence))
  return {
    doubt,
    stored,
    told,
    asked,
    gone,
    join,
    eventsOf,
    stand,
    hint: (sequence: number, events?: readonly ThreadEvent[]): void => { receive({ kind: 'events', sequence, events }, 'elsewhere') },
    seen: () => told.map(({ sequence }) => sequence)
  }
}

t.test('what no hint has told of is looked for as soon as the bus begins to doubt, and when that is over', async (t) => {
  // kill: no `poll.now()` in the listener of `onDoubt` in lib/events/followed-threads.ts
  const { doubt, stored, eventsOf, seen } = follow(t)

  stored.push(...eventsOf(1, 2))
  doubt.set(true)
  await until(() => seen().length === 2)
  stored.push(...eventsOf(3))
  doubt.set(false)
  await until(() => seen().length === 3)

  t.same(seen(), [1, 2, 3])
})

t.test('while the bus is in doubt the log is asked often', async (t) => {
  // kill: no `peers.bus.doubtful` in `#intervalMs` of lib/events/followed-threads.ts
  const { doubt, stored, asked, eventsOf, seen } = follow(t, { doubtfulPollIntervalMs: 5 })
  doubt.set(true)
  await until(() => asked.positions >= 2)

  stored.push(...eventsOf(1))
  await until(() => seen().length === 1)

  doubt.set(false)
  t.same(seen(), [1])
})

t.test('what was found before a follower said where it stands, and is behind that, is read at once', async (t) => {
  // kill: no `cursor.reach` beside `cursor.assume` in `found` of lib/events/position-question.ts
  const { doubt, stored, asked, eventsOf, stand, seen } = follow(t, { stands: false })
  stored.push(...eventsOf(1, 2))
  doubt.set(true)
  await until(() => asked.positions === 1)
  await turn()

  stand()
  await until(() => seen().length === 2)

  t.same(seen(), [1, 2])
  t.equal(asked.positions, 1)
})

t.test('what is missing is read in the name of the owner, also while a stranger is about to be refused the thread', async (t) => {
  // kill: the first user that was asked for, in place of the one that `positions` tells, in lib/events/position-question.ts
  const { doubt, stored, eventsOf, seen } = follow(t, { before: [threadTopic('mallory').userId] })

  stored.push(...eventsOf(1, 2))
  doubt.set(true)
  await until(() => seen().length === 2)

  t.same(seen(), [1, 2])
})

t.test('events behind a gap are not told before what is missing, which is read', async (t) => {
  // kill: `<=` in place of the comparison with the next position in `take` of lib/events/cursor.ts
  const { stored, eventsOf, hint, seen } = follow(t)
  stored.push(...eventsOf(1, 2, 3, 4))

  hint(4, eventsOf(3, 4))
  t.same(seen(), [])
  await until(() => seen().length >= 4)

  t.same(seen(), [1, 2, 3, 4])
})

t.test('what comes twice, late or in another order is told once', async (t) => {
  const { stored, eventsOf, hint, seen } = follow(t)
  stored.push(...eventsOf(1, 2, 3))

  hint(2, eventsOf(1, 2))
  hint(1, eventsOf(1))
  hint(3, eventsOf(2, 3))
  hint(3)

  t.same(seen(), [1, 2, 3])
})

t.test('an event of another epoch is not told as it comes, but as the log has it', async (t) => {
  // kill: no comparison with `epoch` in `#hear` of lib/events/followed-threads.ts
  const { stored, told, eventsOf, hint } = follow(t)
  stored.push(...eventsOf(1))

  hint(1, eventsOf(1).map((event) => ({ ...event, epoch: 'e0' })))
  await until(() => told.length > 0)

  t.same(told, stored)
})

t.test('of what the log gives, only what is the owner\'s and of this thread is told', async (t) => {
  // kill: no comparison with `threadId`, or `reader`, in `#readPage` of lib/events/missed-events.ts
  const [hers, his] = [threadTopic('alice'), threadTopic('bob')]
  for (const wrong of [{ user_id: his.userId }, { thread_id: hers.threadId }]) {
    const { stored, told, asked, eventsOf, hint } = follow(t)
    stored.push(...eventsOf(1).map((event) => ({ ...event, ...wrong })))

    hint(1)
    await until(() => asked.most === 1 && asked.atOnce === 0)
    await turn()

    t.same(told, [])
  }
})

t.test('a thread is read by one question at a time, however many hints come', async (t) => {
  // kill: no comparison with `#reading` in `#next` of lib/events/missed-events.ts
  const answer = Promise.withResolvers<undefined>()
  const { stored, asked, eventsOf, hint, seen } = follow(t, { reading: async () => { await answer.promise } })
  stored.push(...eventsOf(1, 2, 3))

  for (const sequence of [1, 2, 3, 3]) hint(sequence)
  await until(() => asked.atOnce > 0)
  answer.resolve(undefined)
  await until(() => seen().length >= 3)

  t.same(seen(), [1, 2, 3])
  t.equal(asked.most, 1)
})

t.test('what a node tells that still serves a database before its restoration says nothing of where this log stands', async (t) => {
  // kill: the comparison of epochs in `#hear` of lib/events/followed-threads.ts
  const { stored, eventsOf, hint, stand, seen } = follow(t, { stands: false })

  hint(105, eventsOf(104, 105).map((event) => ({ ...event, epoch: 'e0' })))
  stand()
  stored.push(...eventsOf(1, 2))
  hint(2)
  await until(() => seen().length === 2)

  t.same(seen(), [1, 2])
})

t.test('a thread that the database does not know twice in a row is told as gone, once, and not to whoever has just found it', async (t) => {
  // kill: `answersUntilGone` is 1 in lib/events/followed-thread.ts, or no `#missing = 0` in `join`
  let isKnown = false
  const { doubt, asked, gone, join } = follow(t, { isKnown: () => isKnown })
  const ask = async (): Promise<void> => {
    const before = asked.positions
    doubt.tell()
    await until(() => asked.positions > before)
    await turn()
  }

  await ask()
  isKnown = true
  await ask()
  isKnown = false
  await ask()
  join()
  await ask()
  const early = [...gone]
  await ask()
  await ask()

  t.same(early, [])
  t.equal(gone.length, 2)
})
