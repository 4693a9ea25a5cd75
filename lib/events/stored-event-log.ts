import { currentIdentity, enterThread } from '../context/current-thread.ts'
import { guard, isOwner } from '../context/guard.ts'
import { createIdentity, type Identity } from '../context/identity.ts'
import { createCounter } from '../context/instruments.ts'
import type { Logger } from '../context/logger.ts'
import { metricDefinitions } from '../context/metric-definitions.ts'
import { parseTraceparent } from '../context/traceparent.ts'
import { ThreadlineError } from '../errors.ts'
import type { NewThreadEvent, ThreadEvent } from '../protocol/events.ts'
import type { ThreadId } from '../protocol/ids.ts'
import type { EventStore } from '../stores/event-store.ts'
import type { EventLog, Unfollow } from './event-log.ts'
import type { Follower } from './followed-thread.ts'
import { FollowedThreads, type Peers } from './followed-threads.ts'
import { hintsOf } from './hints-of.ts'
import { LogWriters, type Item, type Placed, type RefusedAppend } from './log-writers.ts'
import { RecentEvents, type RecentEventsLimits } from './recent-events.ts'

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
  const threads = new FollowedThreads({ store, epoch, logger, peers, tell })
  const writers = new LogWriters({ store, epoch, committed, maxBatch: options.maxBatch ?? 512, maxWaiting: options.maxWaiting ?? 50_000 })

  function committed (batch: readonly Item[], placed: readonly Placed[]): void {
    const stored: ThreadEvent[] = []
    for (const [index, { identity }] of batch.entries()) {
      const event = placed[index]
      if (event === undefined || 'refused' in event) continue
      stored.push(event)
      appended.add(1, { type: event.type })
      recent.add(event)
      threads.stored(event, identity)
    }
    if (peers !== undefined) for (const { topic, hint } of hintsOf(stored)) peers.bus.publish(topic, hint)
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
      const placed = await writers.append({ event, attempt, identity: identityOfEvent(event), ...(step === undefined ? {} : { step }) })
      if ('refused' in placed) throw errorOf(placed.refused)
      return placed
    },

    follow: (threadId, receive, gone): Unfollow => threads.follow(threadId, followerOf(threadId, receive, gone)),
    stand: (threadId, sequence) => { threads.stand(threadId, sequence) },
    async read (threadId, after, limit) {
      return recent.read(threadId, after, limit) ?? await store.read(threadId, after, limit)
    },
    forget: (threadId) => { recent.forget(threadId) },
    get followed () { return threads.size },
    get waiting () { return writers.waiting },
    async close () {
      await writers.close()
      await threads.close()
    }
  }
}

/** The active user, who is told of the thread's end in its own name. */
function followerOf (threadId: ThreadId, receive: Follower['receive'], gone: () => void = () => {}): Follower {
  const owner = currentIdentity()
  const { userId } = owner
  return { owner, receive, gone: () => { enterThread(createIdentity({ userId, threadId }), gone) } }
}

function errorOf (refused: RefusedAppend['refused']): ThreadlineError {
  switch (refused) {
    case 'thread-not-found': return new ThreadlineError('THREADLINE_THREAD_NOT_FOUND')
    case 'thread-locked': return new ThreadlineError('THREADLINE_STORAGE_UNAVAILABLE', 'The thread is locked')
    case 'run-not-active': return new ThreadlineError('THREADLINE_CONFLICT', 'The run is no longer active')
  }
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
