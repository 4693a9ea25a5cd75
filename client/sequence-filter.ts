import type { ThreadlineEvent } from './threadline-event.ts'

const maxThreads = 256
const maxRanges = 64

/** Where a reader of a thread stands: what it has seen last, and in which epoch. */
export interface Position { readonly after: number, readonly epoch: string }

interface Heard {
  epoch: string | undefined
  /** The thread's last sequence as far as this client knows. */
  position: number
  /** Sequences that were told, as `[from, to]`, ascending, never touching each other. */
  ranges: [number, number][]
}

/**
 * Which events of which threads were already told. The server delivers at least once; behind this filter it is once.
 *
 * Bounded: it remembers the 256 threads used last, and in each of them 64 separate stretches. What it forgot
 * would be told twice, never lost. A new epoch starts a thread anew.
 */
export class SequenceFilter {
  readonly #threads = new Map<string, Heard>()

  /** Whether the event was not told before. Events without a sequence always are new. */
  admit ({ thread_id: threadId, sequence, epoch }: Pick<ThreadlineEvent, 'thread_id' | 'sequence' | 'epoch'>): boolean {
    if (threadId === null || sequence === undefined) return true
    const heard = this.#heard(threadId, epoch)
    heard.position = Math.max(heard.position, sequence)
    return addTo(heard.ranges, sequence)
  }

  /**
   * Notes where the thread stands now. Returns how many of its events this client has not seen since it last knew, or
   * null where that cannot be said: the first time, and after a change of epoch.
   */
  moveTo (threadId: string, at: { readonly sequence: number, readonly epoch: string }): number | null {
    const known = this.#threads.get(threadId)?.epoch === at.epoch
    const heard = this.#heard(threadId, at.epoch)
    const missed = Math.max(0, at.sequence - heard.position)
    heard.position = Math.max(heard.position, at.sequence)
    return known ? missed : null
  }

  /** The thread is told anew from here on. What was heard of it does not count any more: a position that the server does not know is none. */
  restartAt (threadId: string, at: { readonly sequence: number, readonly epoch: string }): void {
    this.#threads.delete(threadId)
    this.moveTo(threadId, at)
  }

  /** From where the thread has to be told again; undefined where this client knows nothing of it. */
  position (threadId: string): Position | undefined {
    const heard = this.#threads.get(threadId)
    return heard?.epoch === undefined ? undefined : { after: heard.position, epoch: heard.epoch }
  }

  #heard (threadId: string, epoch: string | undefined): Heard {
    const found = this.#threads.get(threadId)
    const goesOn = found !== undefined && (epoch === undefined || found.epoch === epoch)
    const heard = goesOn ? found : { epoch, position: 0, ranges: [] }
    this.#threads.delete(threadId)
    this.#threads.set(threadId, heard)
    const oldest = this.#threads.keys().next()
    if (this.#threads.size > maxThreads && oldest.done === false) this.#threads.delete(oldest.value)
    return heard
  }
}

function addTo (ranges: [number, number][], sequence: number): boolean {
  let at = ranges.length // from the end, because that is where nearly all arrive
  while (at > 0 && (ranges[at - 1]?.[0] ?? 0) > sequence) at--
  const before = ranges[at - 1]
  const after = ranges[at]
  if (before !== undefined && sequence <= before[1]) return false

  const touchesAfter = after !== undefined && after[0] === sequence + 1
  if (before !== undefined && before[1] === sequence - 1) {
    before[1] = touchesAfter ? after[1] : sequence
    if (touchesAfter) ranges.splice(at, 1)
  } else if (touchesAfter) {
    after[0] = sequence
  } else {
    ranges.splice(at, 0, [sequence, sequence])
    if (ranges.length > maxRanges) ranges.shift()
  }
  return true
}
