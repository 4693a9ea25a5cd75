import { createCounter } from '../context/instruments.ts'
import type { Identity } from '../context/identity.ts'
import type { Logger } from '../context/logger.ts'
import { metricDefinitions } from '../context/metric-definitions.ts'
import type { ThreadEvent } from '../protocol/events.ts'
import type { ThreadId, UserId } from '../protocol/ids.ts'
import type { EventBus, Signal } from './event-bus.ts'
import type { Unfollow } from './event-log.ts'
import type { EventStore } from './event-store.ts'
import { assumeAt, createFollowedThread, isBehind, reach, standAt, type FollowedThread, type Follower } from './followed-thread.ts'
import { MissedEvents } from './missed-events.ts'
import { PositionPoll } from './position-poll.ts'

interface FollowedThreadsOptions {
  readonly store: EventStore
  readonly epoch: string
  readonly logger: Logger
  readonly peers: { readonly bus: EventBus, readonly pollIntervalMs: number, readonly doubtfulPollIntervalMs: number } | undefined
  /** Tells the followers an event that is their next one. */
  readonly tell: (followers: ReadonlySet<Follower>, event: ThreadEvent, identity?: Identity) => void
}

const polled = createCounter(metricDefinitions.polledEvents)
/** What could not be read is tried again so often where nothing else is asked. */
const retryMs = 1_000

/**
 * The threads that are followed on this node, each with a cursor: what comes next is told, what was told before is dropped, and where something
 * is missing it is read first. So it does not matter whether an event comes by a commit of this node, by a hint, late, twice or not at all.
 */
export function createFollowedThreads (options: FollowedThreadsOptions) {
  const { store, epoch, logger, peers } = options
  const followed = new Map<ThreadId, FollowedThread>()
  const missed = new MissedEvents({ store, logger, isFollowed: (thread) => followed.get(thread.threadId) === thread, tell: tellNext })
  let asksInVain = false
  const poll = new PositionPoll({ ask: askPositions, goesOn: isWorthAsking, intervalMs })
  const stopDoubt = peers?.bus.onDoubt(() => { poll.now() })

  function intervalMs (): number {
    if (peers === undefined) return retryMs
    return peers.bus.doubtful || asksInVain || missed.failing ? peers.doubtfulPollIntervalMs : peers.pollIntervalMs
  }

  function isWorthAsking (): boolean {
    return peers === undefined ? [...followed.values()].some(isBehind) : followed.size > 0
  }

  async function askPositions (): Promise<void> {
    if (peers !== undefined && followed.size > 0) {
      try {
        const asked = [...followed.values()].flatMap(({ threadId, subscriptions }) => [...subscriptions.keys()].map((userId) => ({ userId, threadId })))
        const positions = await store.positions(asked)
        for (const { userId, threadId } of asked) found(threadId, userId, positions.get(threadId))
        asksInVain = false
      } catch (err) {
        if (!asksInVain) logger.warn({ err }, 'The positions of threads cannot be read; they are asked for again')
        asksInVain = true
      }
    }
    for (const thread of followed.values()) missed.want(thread)
  }

  function found (threadId: ThreadId, userId: UserId, sequence: number | undefined): void {
    const thread = followed.get(threadId)
    if (thread === undefined || sequence === undefined) return
    assumeAt(thread, sequence)
    const known = Math.max(thread.position ?? 0, thread.target)
    if (sequence <= known) return
    polled.add(sequence - known)
    reach(thread, userId, sequence)
  }

  function hear (thread: FollowedThread, userId: UserId, signal: Signal): void {
    if (signal.kind !== 'events') return
    const { sequence, events = [] } = signal
    thread.position ??= sequence - Math.max(1, events.length) // what comes is told, and nothing before it is known
    if (sequence <= thread.position) return
    reach(thread, userId, sequence)
    for (const event of events) if (event.epoch === epoch) tellNext(thread, event)
    missed.want(thread)
  }

  function tellNext (thread: FollowedThread, event: ThreadEvent, identity?: Identity): void {
    if (thread.position !== undefined && event.sequence !== thread.position + 1) return
    thread.position = event.sequence
    thread.isAssumed = false
    try {
      options.tell(thread.followers, event, identity)
    } catch (err) {
      logger.error({ err, event_id: event.event_id }, 'an event that was stored cannot be told')
    }
  }

  function subscribe (thread: FollowedThread, userId: UserId): void {
    if (thread.subscriptions.has(userId)) return
    const topic = { kind: 'thread', userId, threadId: thread.threadId } as const
    thread.subscriptions.set(userId, peers?.bus.subscribe(topic, (signal) => { hear(thread, userId, signal) }) ?? (() => {}))
  }

  function leave (thread: FollowedThread, follower: Follower): void {
    const { userId } = follower.owner
    if (!thread.followers.delete(follower)) return
    if (![...thread.followers].some(({ owner }) => owner.userId === userId)) {
      thread.subscriptions.get(userId)?.()
      thread.subscriptions.delete(userId)
    }
    if (thread.followers.size === 0) followed.delete(thread.threadId)
  }

  return {
    get size () { return followed.size },

    follow (threadId: ThreadId, follower: Follower): Unfollow {
      const thread = followed.get(threadId) ?? createFollowedThread(threadId)
      followed.set(threadId, thread)
      thread.followers.add(follower)
      subscribe(thread, follower.owner.userId)
      if (peers !== undefined) poll.soon()
      return () => { leave(thread, follower) }
    },

    stand (threadId: ThreadId, sequence: number): void {
      const thread = followed.get(threadId)
      if (thread === undefined) return
      standAt(thread, sequence)
      missed.want(thread)
    },

    /** An event was stored by this node. */
    stored (event: ThreadEvent, identity: Identity): void {
      const thread = followed.get(event.thread_id)
      if (thread === undefined) return
      tellNext(thread, event, identity)
      if ((thread.position ?? 0) >= event.sequence) return
      reach(thread, event.user_id, event.sequence)
      missed.want(thread)
      poll.soon() // in case it cannot be read now
    },

    async close (): Promise<void> {
      stopDoubt?.()
      for (const { subscriptions } of followed.values()) for (const unsubscribe of subscriptions.values()) unsubscribe()
      followed.clear()
      await Promise.all([poll.close(), missed.close()])
    }
  }
}
