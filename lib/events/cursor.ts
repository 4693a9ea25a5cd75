import type { UserId } from '../protocol/ids.ts'

/**
 * Where the followers of a thread are in its log, and how far the log is known to reach. It is behind while events are stored that were not told: they have
 * to be read before anything newer is told.
 */
export class Cursor {
  #position: number | undefined
  #isAssumed = false
  #target = 0
  #reader: UserId | undefined

  /** The last sequence that was told, or that everybody knows already; undefined until that is known. */
  get position (): number | undefined { return this.#position }
  /** How far the log reaches, as far as is known here. */
  get target (): number { return this.#target }
  /** In whose name what is missing can be read: who has said last how far the log reaches. */
  get reader (): UserId | undefined { return this.#reader }
  /** The last sequence that is known of at all. */
  get known (): number { return Math.max(this.#position ?? 0, this.#target) }

  /** Events are stored that were not told here. */
  get isBehind (): boolean { return this.#position !== undefined && this.#position < this.#target }

  /** Takes an event as the next one, which it is where no position is known; false when it is not, and must not be told now. */
  take (sequence: number): boolean {
    if (this.#position !== undefined && sequence !== this.#position + 1) return false
    this.#position = sequence
    this.#isAssumed = false
    return true
  }

  /** The log reaches at least to a sequence, as its owner has told. */
  reach (reader: UserId, sequence: number): void {
    this.#reader = reader
    this.#target = Math.max(this.#target, sequence)
  }

  /** A follower knows everything up to a sequence, and nothing behind it. */
  stand (sequence: number): void {
    if (this.#position === undefined || (this.#isAssumed && sequence < this.#position)) this.#position = sequence
    this.#isAssumed = false
  }

  /** What comes after a sequence is told, where no position is known: nothing before it can be missing. */
  begin (after: number): void {
    this.#position ??= after
  }

  /** Takes a position that was found by asking, where none is known. What lies before it was stored before anybody asked; a follower may know less. */
  assume (sequence: number): void {
    if (this.#position !== undefined) return
    this.#position = sequence
    this.#isAssumed = true
  }

  /** What lies before a sequence cannot be told any more: whoever needs it finds a gap, and says so. */
  skipTo (sequence: number): void {
    this.#position = Math.max(this.#position ?? 0, sequence)
  }

  /** Nothing comes of asking for what is missing. */
  giveUp (): void {
    this.#target = this.#position ?? 0
  }
}
