import { currentIdentity, enterThread } from '../context/current-thread.ts'
import { guard, isOwner } from '../context/guard.ts'
import { createIdentity, type Identity } from '../context/identity.ts'
import type { Logger } from '../context/logger.ts'
import { parseTraceparent } from '../context/traceparent.ts'
import { ThreadlineError } from '../errors.ts'
import type { NewThreadEvent, ThreadEvent } from '../protocol/events.ts'
import type { ThreadId } from '../protocol/ids.ts'
import type { EventLog, Unfollow } from './event-log.ts'
import type { Append, Appended, EventStore } from './event-store.ts'
import { GroupCommit } from './group-commit.ts'

/** What is appended, with the identity in which it will be told. */
interface Item extends Append { readonly identity: Identity }

interface Follower { readonly owner: Identity, readonly receive: (event: ThreadEvent) => void }

export interface StoredEventLogOptions {
  readonly store: EventStore
  readonly epoch: string
  readonly logger: Logger
  readonly maxBatch?: number
  readonly maxWaiting?: number
}

/** The log in the database, with followers in this process. Appends of all threads are committed in groups. */
export function createStoredEventLog (options: StoredEventLogOptions): EventLog {
  const { store, epoch, logger } = options
  const followers = new Map<ThreadId, Set<Follower>>()
  const writer = new GroupCommit<Item, Appended>({
    commit: (batch) => store.append(batch),
    committed: (batch, results) => {
      for (const [index, item] of batch.entries()) tell(item, results[index])
    },
    maxBatch: options.maxBatch ?? 512,
    maxWaiting: options.maxWaiting ?? 50_000
  })

  function tell ({ event, identity }: Item, appended: Appended | undefined): void {
    const audience = followers.get(event.thread_id)
    if (audience === undefined || appended === undefined || 'refused' in appended) return
    const placed: ThreadEvent = { ...event, sequence: appended.sequence, epoch }
    const listening = [...audience] // who is told may follow or unfollow; who has just unfollowed is not told any more
    enterThread(identity, () => {
      for (const follower of listening) if (audience.has(follower)) tellOne(follower, placed, identity)
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
    async append (event, attempt) {
      guard({ userId: event.user_id, threadId: event.thread_id, runId: event.run_id }, 'event-log')
      const appended = await writer.add({ event, attempt, identity: identityOfEvent(event) })
      if (!('refused' in appended)) return { ...event, sequence: appended.sequence, epoch }
      throw appended.refused === 'thread-not-found'
        ? new ThreadlineError('THREADLINE_THREAD_NOT_FOUND')
        : new ThreadlineError('THREADLINE_CONFLICT', 'The run is no longer active')
    },

    follow (threadId, receive): Unfollow {
      const follower: Follower = { owner: currentIdentity(), receive }
      const audience = followers.get(threadId) ?? new Set()
      followers.set(threadId, audience.add(follower))
      return () => {
        audience.delete(follower)
        if (audience.size === 0 && followers.get(threadId) === audience) followers.delete(threadId)
      }
    },

    read: (threadId, after, limit) => store.read(threadId, after, limit),
    get followed () { return followers.size },
    close: () => writer.close()
  }
}

/** In whose name an event of the log is worked on: the run that told it. */
export function identityOfEvent (event: NewThreadEvent): Identity {
  return createIdentity({
    userId: event.user_id, threadId: event.thread_id, runId: event.run_id, requestId: event.request_id
  })
}
