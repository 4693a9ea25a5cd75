import { currentIdentity } from '../context/current-thread.ts'
import { isOwner } from '../context/guard.ts'
import type { ThreadEvent } from '../protocol/events.ts'
import type { ThreadId, UserId } from '../protocol/ids.ts'

export interface RecentEventsLimits {
  /** Events of one thread. */
  readonly perThread: number
  /** Of all threads together: an event weighs 1, and 1 more for each 1,000 characters that it holds. */
  readonly weight: number
}

/** The newest events of one thread, without a gap: `first` to `last`, each at its sequence modulo the limit. */
interface Ring {
  readonly owner: UserId
  readonly slots: ThreadEvent[]
  first: number
  last: number
  weight: number
}

/**
 * The last events of the threads that have told something lately, so that whoever comes back after a moment does not ask the storage.
 * Bounded: in each thread the newest stay, and of the threads those that were used last.
 */
export class RecentEvents {
  readonly #limits: RecentEventsLimits
  /** The least recently used thread is first. */
  readonly #rings = new Map<ThreadId, Ring>()
  #weight = 0

  constructor (limits: RecentEventsLimits) {
    this.#limits = limits
  }

  /** Of all that is kept. */
  get weight (): number { return this.#weight }

  /** Takes an event that is stored. One that does not follow the last one starts the thread anew: somebody else stored what is between. */
  add (event: ThreadEvent): void {
    const { thread_id: threadId, user_id: owner, sequence } = event
    const known = this.#rings.get(threadId)
    if (known !== undefined && sequence <= known.last) return
    const goesOn = known !== undefined && sequence === known.last + 1
    if (known !== undefined && !goesOn) this.#drop(threadId, known)
    const ring = goesOn ? known : { owner, slots: [], first: sequence, last: sequence - 1, weight: 0 }
    this.#put(ring, event)
    this.#use(threadId, ring)
    while (this.#weight > this.#limits.weight) this.#forgetOldest()
  }

  /**
   * Events after a sequence, in order, `limit` of them; undefined when not all of these are here, and for a reader who is another user
   * than the thread's.
   */
  read (threadId: ThreadId, after: number, limit: number): readonly ThreadEvent[] | undefined {
    const ring = this.#rings.get(threadId)
    if (ring === undefined || !isOwner(currentIdentity(), { userId: ring.owner })) return undefined
    if (after + 1 < ring.first || after + limit > ring.last) return undefined
    this.#use(threadId, ring)
    return Array.from({ length: limit }, (_event, index) => this.#slot(ring, after + 1 + index)).filter((event) => event !== undefined)
  }

  /** Lets go of one thread of the active user, or of all of them. */
  forget (only?: ThreadId): void {
    const reader = currentIdentity()
    for (const [threadId, ring] of this.#rings) {
      if ((only ?? threadId) === threadId && isOwner(reader, { userId: ring.owner })) this.#drop(threadId, ring)
    }
  }

  #put (ring: Ring, event: ThreadEvent): void {
    const replaced = this.#slot(ring, event.sequence)
    const weight = weightOf(event) - (replaced === undefined ? 0 : weightOf(replaced))
    ring.slots[event.sequence % this.#limits.perThread] = event
    ring.last = event.sequence
    if (replaced !== undefined) ring.first += 1
    ring.weight += weight
    this.#weight += weight
  }

  #slot (ring: Ring, sequence: number): ThreadEvent | undefined {
    return ring.slots[sequence % this.#limits.perThread]
  }

  #use (threadId: ThreadId, ring: Ring): void {
    this.#rings.delete(threadId)
    this.#rings.set(threadId, ring)
  }

  #forgetOldest (): void {
    const [oldest] = this.#rings
    if (oldest !== undefined) this.#drop(...oldest)
  }

  #drop (threadId: ThreadId, ring: Ring): void {
    this.#rings.delete(threadId)
    this.#weight -= ring.weight
  }
}

const charactersOfWeight = 1_000

function weightOf ({ payload }: ThreadEvent): number {
  const characters = Object.values(payload).reduce<number>((sum, value) => sum + lengthOf(value), 0)
  return 1 + Math.floor(characters / charactersOfWeight)
}

function lengthOf (value: unknown): number {
  if (typeof value === 'string') return value.length
  return typeof value === 'object' && value !== null ? JSON.stringify(value).length : 0
}
