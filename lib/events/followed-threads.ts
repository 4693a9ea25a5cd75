import type { Identity } from '../context/identity.ts'
import type { Logger } from '../context/logger.ts'
import type { ThreadEvent } from '../protocol/events.ts'
import type { ThreadId, UserId } from '../protocol/ids.ts'
import type { EventStore } from '../stores/event-store.ts'
import type { EventBus, Signal } from './event-bus.ts'
import type { Unfollow } from './event-log.ts'
import { FollowedThread, type Follower } from './followed-thread.ts'
import { MissedEvents } from './missed-events.ts'
import { PositionPoll } from './position-poll.ts'
import { PositionQuestion } from './position-question.ts'

/** Other nodes append to the same log. */
export interface Peers {
  readonly bus: EventBus
  /** How often it is asked what no hint has told of, and how often while hints are lost for certain. */
  readonly pollIntervalMs: number
  readonly doubtfulPollIntervalMs: number
}

export interface FollowedThreadsOptions {
  readonly store: Pick<EventStore, 'positions' | 'read'>
  readonly epoch: string
  readonly logger: Logger
  readonly peers: Peers | undefined
  /** Tells the followers an event that is their next one. */
  readonly tell: (followers: ReadonlySet<Follower>, event: ThreadEvent, identity?: Identity) => void
}

/** What could not be read is tried again so often where nothing else is asked. */
const retryMs = 1_000

/**
 * The threads that are followed on this node, each with a cursor: what comes next is told, what was told before is dropped, and where something
 * is missing it is read first. So it does not matter whether an event comes by a commit of this node, by a hint, late, twice or not at all.
 */
export class FollowedThreads {
  readonly #options: FollowedThreadsOptions
  readonly #followed = new Map<ThreadId, FollowedThread>()
  readonly #missed: MissedEvents
  readonly #positions: PositionQuestion
  readonly #poll: PositionPoll
  readonly #stopDoubt: (() => void) | undefined

  constructor (options: FollowedThreadsOptions) {
    const { store, logger, peers } = options
    this.#options = options
    this.#missed = new MissedEvents({
      store, logger, isFollowed: (thread) => this.#followed.get(thread.threadId) === thread, tell: (thread, event) => { this.#tellNext(thread, event) }
    })
    this.#positions = new PositionQuestion(store, logger)
    this.#poll = new PositionPoll({ ask: () => this.#ask(), goesOn: () => this.#isWorthAsking(), intervalMs: () => this.#intervalMs() })
    this.#stopDoubt = peers?.bus.onDoubt(() => { this.#poll.now() })
  }

  get size (): number { return this.#followed.size }

  follow (threadId: ThreadId, follower: Follower): Unfollow {
    const thread = this.#followed.get(threadId) ?? new FollowedThread(threadId)
    this.#followed.set(threadId, thread)
    thread.join(follower, (userId) => this.#subscribe(thread, userId))
    if (this.#options.peers !== undefined) this.#poll.soon()
    return () => {
      thread.leave(follower)
      if (thread.followers.size === 0 && this.#followed.get(threadId) === thread) this.#followed.delete(threadId)
    }
  }

  /** A follower of the thread knows everything up to a sequence. */
  stand (threadId: ThreadId, sequence: number): void {
    const thread = this.#followed.get(threadId)
    if (thread === undefined) return
    thread.cursor.stand(sequence)
    this.#missed.want(thread)
  }

  /** An event was stored by this node. */
  stored (event: ThreadEvent, identity: Identity): void {
    const thread = this.#followed.get(event.thread_id)
    if (thread === undefined) return
    this.#tellNext(thread, event, identity)
    if ((thread.cursor.position ?? 0) >= event.sequence) return
    thread.cursor.reach(event.user_id, event.sequence)
    this.#missed.want(thread)
    this.#poll.soon() // in case it cannot be read now
  }

  async close (): Promise<void> {
    this.#stopDoubt?.()
    for (const thread of this.#followed.values()) thread.close()
    this.#followed.clear()
    await Promise.all([this.#poll.close(), this.#missed.close()])
  }

  #subscribe (thread: FollowedThread, userId: UserId): () => void {
    const topic = { kind: 'thread', userId, threadId: thread.threadId } as const
    return this.#options.peers?.bus.subscribe(topic, (signal) => { this.#hear(thread, userId, signal) }) ?? (() => {})
  }

  #hear (thread: FollowedThread, userId: UserId, signal: Signal): void {
    if (signal.kind !== 'events') return
    const { cursor } = thread
    const { sequence, events = [] } = signal
    const isOfThisLog = events.every(({ epoch }) => epoch === this.#options.epoch)
    if (!isOfThisLog && cursor.position === undefined) return // where another log stands says nothing of this one
    cursor.begin(sequence - Math.max(1, events.length)) // what comes is told, and nothing before it is known
    if (sequence <= (cursor.position ?? 0)) return
    cursor.reach(userId, sequence)
    if (isOfThisLog) for (const event of events) this.#tellNext(thread, event)
    this.#missed.want(thread)
  }

  #tellNext (thread: FollowedThread, event: ThreadEvent, identity?: Identity): void {
    if (!thread.cursor.take(event.sequence)) return
    try {
      this.#options.tell(thread.followers, event, identity)
    } catch (err) {
      this.#options.logger.error({ err, event_id: event.event_id }, 'an event that was stored cannot be told')
    }
  }

  #tellGone ({ followers }: FollowedThread): void {
    const listening = [...followers] // who is told leaves
    for (const follower of listening) {
      try {
        if (followers.has(follower)) follower.gone?.()
      } catch (err) {
        this.#options.logger.error({ err }, 'a follower was not told that its thread is no more')
      }
    }
  }

  async #ask (): Promise<void> {
    const gone = this.#options.peers !== undefined && this.#followed.size > 0 ? await this.#positions.ask(this.#followed) : []
    for (const thread of gone) this.#tellGone(thread)
    for (const thread of this.#followed.values()) this.#missed.want(thread)
  }

  #isWorthAsking (): boolean {
    return this.#options.peers === undefined ? this.#followed.values().some(({ cursor }) => cursor.isBehind) : this.#followed.size > 0
  }

  #intervalMs (): number {
    const { peers } = this.#options
    if (peers === undefined) return retryMs
    return peers.bus.doubtful || this.#positions.failing || this.#missed.failing ? peers.doubtfulPollIntervalMs : peers.pollIntervalMs
  }
}
