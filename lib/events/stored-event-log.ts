import { currentIdentity, enterThread } from '../context/current-thread.ts'
import { guard, isOwner } from '../context/guard.ts'
import { createIdentity, type Identity } from '../context/identity.ts'
import { createCounter } from '../context/instruments.ts'
import type { Logger } from '../context/logger.ts'
import { metricDefinitions } from '../context/metric-definitions.ts'
import { parseTraceparent } from '../context/traceparent.ts'
import { isThreadlineError, ThreadlineError } from '../errors.ts'
import type { NewThreadEvent, ThreadEvent } from '../protocol/events.ts'
import type { ThreadId } from '../protocol/ids.ts'
import type { EventBus, Topic } from './event-bus.ts'
import type { EventLog, Unfollow } from './event-log.ts'
import type { Append, Appended, EventStore } from './event-store.ts'
import type { Follower } from './followed-thread.ts'
import { createFollowedThreads } from './followed-threads.ts'
import { GroupCommit } from './group-commit.ts'
import { RecentEvents, type RecentEventsLimits } from './recent-events.ts'

/** What is appended, with the identity in which it will be told. */
interface Item extends Append { readonly identity: Identity }

/** What became of it: the event in its place, or why it has none. */
type Placed = ThreadEvent | Extract<Appended, { readonly refused: unknown }>

/** Other nodes append to the same log. */
export interface Peers {
  readonly bus: EventBus
  /** How often it is asked what no hint has told of, and how often while hints are lost for certain. */
  readonly pollIntervalMs: number
  readonly doubtfulPollIntervalMs: number
}

export interface StoredEventLogOptions {
  readonly store: EventStore
  readonly epoch: string
  readonly logger: Logger
  readonly maxBatch?: number
  readonly maxWaiting?: number
  /** Stored events that are kept at hand, of one thread and of all. */
  readonly recent?: RecentEventsLimits
  /** Without it this process is the only one that appends. */
  readonly peers?: Peers | undefined
}

const appended = createCounter(metricDefinitions.appendedEvents)

/**
 * The log in the database, with followers in this process. Appends of all threads are committed in groups; the newest events are kept at
 * hand, so that a storm of readers that come back does not reach the database. What other nodes append is told by hints of the bus, or found by
 * asking; either way only the database says what an event is and where it stands.
 */
export function createStoredEventLog (options: StoredEventLogOptions): EventLog {
  const { store, epoch, logger, peers } = options
  const recent = new RecentEvents(options.recent ?? { perThread: 256, weight: 20_000 })
  const threads = createFollowedThreads({ store, epoch, logger, peers, tell })
  const batchesAtOnce = store.batchesAtOnce ?? 1
  const newWriter = (): GroupCommit<Item, Placed> => new GroupCommit({
    commit: async (batch) => place(batch, await store.append(batch), epoch),
    committed: (batch, placed) => {
      for (const [index, { identity }] of batch.entries()) keepAndTell(placed[index], identity)
      for (const { topic, hint } of hintsOf(placed)) peers?.bus.publish(topic, hint)
    },
    // The storage is there, and does not take something that is in it.
    isOfOne: (error) => !isThreadlineError(error, 'THREADLINE_STORAGE_UNAVAILABLE'),
    maxBatch: options.maxBatch ?? 512,
    maxWaiting: Math.ceil((options.maxWaiting ?? 50_000) / batchesAtOnce)
  })
  // A thread has one writer, so that its events keep their order. While the database writes the batch of one, the next of another is made ready.
  const first = newWriter()
  const writers = [first, ...Array.from({ length: batchesAtOnce - 1 }, newWriter)]
  const writerOf = (threadId: ThreadId): GroupCommit<Item, Placed> => writers[Number.parseInt(threadId.slice(-6), 16) % writers.length] ?? first

  function keepAndTell (event: Placed | undefined, identity: Identity): void {
    if (event === undefined || 'refused' in event) return
    appended.add(1, { type: event.type })
    recent.add(event)
    threads.stored(event, identity)
  }

  function tell (followers: ReadonlySet<Follower>, event: ThreadEvent, identity = identityOfEvent(event)): void {
    recent.add(event)
    const listening = [...followers] // who is told may follow or unfollow; who has just unfollowed is not told any more
    enterThread(identity, () => {
      for (const follower of listening) if (followers.has(follower)) tellOne(follower, event, identity)
    }, { parent: parseTraceparent(event.traceparent) })
  }

  function tellOne (follower: Follower, event: ThreadEvent, identity: Identity): void {
    if (!isOwner(identity, { userId: follower.owner.userId })) return
    try {
      follower.receive(event)
    } catch (err) {
      logger.error({ err, event_id: event.event_id }, 'a follower of a thread failed')
    }
  }

  return {
    async append (event, attempt, step) {
      guard({ userId: event.user_id, threadId: event.thread_id, runId: event.run_id }, 'event-log')
      const placed = await writerOf(event.thread_id).add({ event, attempt, identity: identityOfEvent(event), ...(step === undefined ? {} : { step }) })
      if (!('refused' in placed)) return placed
      if (placed.refused === 'thread-locked') throw new ThreadlineError('THREADLINE_STORAGE_UNAVAILABLE', 'The thread is locked')
      throw placed.refused === 'thread-not-found'
        ? new ThreadlineError('THREADLINE_THREAD_NOT_FOUND')
        : new ThreadlineError('THREADLINE_CONFLICT', 'The run is no longer active')
    },

    follow: (threadId, receive): Unfollow => threads.follow(threadId, { owner: currentIdentity(), receive }),
    stand: (threadId, sequence) => { threads.stand(threadId, sequence) },
    async read (threadId, after, limit) {
      return recent.read(threadId, after, limit) ?? await store.read(threadId, after, limit)
    },
    forget: (threadId) => { recent.forget(threadId) },
    get followed () { return threads.size },
    get waiting () { return writers.reduce((waiting, writer) => waiting + writer.waiting, 0) },
    async close () {
      await Promise.all(writers.map(async (writer) => { await writer.close() }))
      await threads.close()
    }
  }
}

/** One for each thread that a batch has stored events of; they follow each other, because a thread is written by one transaction at a time. */
function hintsOf (placed: readonly Placed[]) {
  const stored = placed.filter((event) => !('refused' in event)) as readonly ThreadEvent[] // by the line itself
  return [...Map.groupBy(stored, ({ thread_id: threadId }) => threadId).values()].flatMap((events) => {
    const inOrder = events.toSorted((one, other) => one.sequence - other.sequence)
    const last = inOrder.at(-1)
    if (last === undefined) return []
    const topic: Topic = { kind: 'thread', userId: last.user_id, threadId: last.thread_id }
    return { topic, hint: { kind: 'events', sequence: last.sequence, events: endOf(inOrder) } as const }
  })
}

// What was stored before has its first place, and may leave a gap behind it.
function endOf (events: readonly ThreadEvent[]): readonly ThreadEvent[] {
  const first = events.findLastIndex((event, index) => event.sequence !== (events[index - 1]?.sequence ?? Number.NaN) + 1)
  return events.slice(Math.max(first, 0))
}

function place (batch: readonly Item[], appended: readonly Appended[], epoch: string): readonly Placed[] {
  return appended.flatMap((outcome, index) => {
    const item = batch[index]
    if (item === undefined) return []
    return 'refused' in outcome ? outcome : { ...item.event, sequence: outcome.sequence, epoch }
  })
}

/** Works on an event that was read from the log, in the name and in the trace of the run that told it. */
export function enterEvent<T> (event: ThreadEvent, fn: () => T): T {
  return enterThread(identityOfEvent(event), fn, { parent: parseTraceparent(event.traceparent) })
}

/** In whose name an event of the log is worked on: the run that told it. */
export function identityOfEvent (event: NewThreadEvent): Identity {
  return createIdentity({
    userId: event.user_id, threadId: event.thread_id, runId: event.run_id, requestId: event.request_id
  })
}
