import { isReservedUserId, type UserId } from '../protocol/ids.ts'

/** How much a user may send. What it knows of users that have sent nothing for long is forgotten by `sweep`. */
export interface FrameLimit {
  /** Counts a frame of the user. False, and not counted, when that is too many. */
  admit (userId: UserId): boolean | Promise<boolean>
  sweep (): void
  /** Users of whom anything is known. */
  readonly size: number
}

/**
 * How many frames a user may send, on all connections of this node together, in any span of `windowMs`: a sliding window. Users of the service
 * itself, as whom nobody can sign in, are not counted.
 */
export class MessageWindow implements FrameLimit {
  readonly #limit: number
  readonly #windowMs: number
  readonly #now: () => number
  readonly #times = new Map<UserId, number[]>()

  constructor (options: { limit: number, windowMs: number, now?: () => number }) {
    this.#limit = options.limit
    this.#windowMs = options.windowMs
    this.#now = options.now ?? (() => performance.now())
  }

  get size (): number { return this.#times.size }

  /** Counts a frame of the user. False, and not counted, when the window is full. */
  admit (userId: UserId): boolean {
    if (isReservedUserId(userId)) return true
    const times = this.#recent(userId)
    if (times.length >= this.#limit) return false
    times.push(this.#now())
    this.#times.set(userId, times)
    return true
  }

  /** Counts the user's newest frame no more, which somebody else has refused. */
  takeBack (userId: UserId): void { this.#times.get(userId)?.pop() }

  /** Forgets users who have not sent anything for a whole window. */
  sweep (): void {
    for (const userId of this.#times.keys()) {
      if (this.#recent(userId).length === 0) this.#times.delete(userId)
    }
  }

  #recent (userId: UserId): number[] {
    const since = this.#now() - this.#windowMs
    const times = this.#times.get(userId) ?? []
    const expired = times.findIndex((time) => time > since)
    times.splice(0, expired === -1 ? times.length : expired)
    return times
  }
}
