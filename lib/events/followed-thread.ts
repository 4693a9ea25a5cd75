import type { Identity } from '../context/identity.ts'
import type { ThreadEvent } from '../protocol/events.ts'
import type { ThreadId, UserId } from '../protocol/ids.ts'
import { Cursor } from './cursor.ts'

export interface Follower {
  readonly owner: Identity
  readonly receive: (event: ThreadEvent) => void
  /** Called in nobody's identity, once, when there is no such thread any more. */
  readonly gone?: () => void
}

/** One answer may have been on its way since before somebody came; so may the news of the deletion. */
const answersUntilGone = 2

/** A thread that is followed here: by whom, and how far. Of each user who follows it there is one subscription. */
export class FollowedThread {
  readonly threadId: ThreadId
  readonly cursor = new Cursor()
  readonly #followers = new Set<Follower>()
  readonly #subscriptions = new Map<UserId, () => void>()
  /** How often in a row the database has not known the thread. */
  #missing = 0

  constructor (threadId: ThreadId) {
    this.threadId = threadId
  }

  get followers (): ReadonlySet<Follower> { return this.#followers }
  /** Whose followers there are. */
  get users (): Iterable<UserId> { return this.#subscriptions.keys() }

  /** `subscribe` is called for the first follower of a user; what it returns, when the last one leaves. */
  join (follower: Follower, subscribe: (userId: UserId) => () => void): void {
    const { userId } = follower.owner
    this.#followers.add(follower)
    this.#missing = 0 // who comes has found it
    if (!this.#subscriptions.has(userId)) this.#subscriptions.set(userId, subscribe(userId))
  }

  leave (follower: Follower): void {
    const { userId } = follower.owner
    if (!this.#followers.delete(follower) || this.#isFollowedBy(userId)) return
    this.#subscriptions.get(userId)?.()
    this.#subscriptions.delete(userId)
  }

  /** Notes whether the database knows the thread. True when it does not, and has just said so often enough to be believed. */
  isGone (isKnown: boolean): boolean {
    this.#missing = isKnown ? 0 : this.#missing + 1
    return this.#missing === answersUntilGone
  }

  /** Ends the subscriptions. */
  close (): void {
    for (const unsubscribe of this.#subscriptions.values()) unsubscribe()
    this.#subscriptions.clear()
  }

  #isFollowedBy (userId: UserId): boolean {
    for (const { owner } of this.#followers) if (owner.userId === userId) return true
    return false
  }
}
