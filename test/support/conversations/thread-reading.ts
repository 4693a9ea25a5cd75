import { isDeepStrictEqual } from 'node:util'
import type { ThreadEvent } from '../../../lib/protocol/events.ts'

/** How long a connection is in the thread: from when it was told to be in it until it leaves. */
interface Stay {
  /** The sequence that must be told next: `unknown` until the first one, `resuming` while only missed ones may be told. */
  next: number | 'unknown' | 'resuming'
  /** What was told on this connection during this stay. */
  readonly told: Set<number>
  /** What was told before the connection entered the thread that it was in once more. It may be told again when it is asked for. */
  readonly before: ReadonlySet<number>
}

/** A resume that is being answered. Where it was not the client who asked for it, it begins wherever it does. */
export interface Resuming { after: number | undefined, last: number | undefined, replayed: number }

/**
 * What one tab reads of one thread, over all its connections: each event once during a stay, in order and without a gap, and always the
 * same event under the same sequence. What is told against that is a fault.
 */
export class ThreadReading {
  /** All that was ever told, by sequence. */
  readonly events = new Map<number, ThreadEvent>()
  readonly #fault: (fault: string) => void
  #last: { after: number, epoch: string } | undefined
  #stay: Stay | undefined

  constructor (fault: (fault: string) => void) {
    this.#fault = fault
  }

  /** The highest sequence that the tab knows of, with its epoch. */
  get last (): { readonly after: number, readonly epoch: string } | undefined { return this.#last }

  /** What the connection has to be told next, where that can be said. */
  get next (): number | undefined { return typeof this.#stay?.next === 'number' ? this.#stay.next : undefined }

  /** The connection is in the thread from now on, at the position that it was told. */
  enter ({ sequence, epoch }: { readonly sequence: number, readonly epoch: string }): void {
    const next = this.#stay?.next
    if (typeof next === 'number' && sequence < next - 1) this.#fault(`put at ${sequence} after ${next - 1}`)
    this.arrive(sequence + 1)
    this.#reach(sequence, epoch)
  }

  /** The connection is in the thread, at a position of which it was not told. */
  arrive (next: number | 'unknown'): void {
    this.#stay = { next, told: new Set(), before: new Set([...this.#stay?.before ?? [], ...this.#stay?.told ?? []]) }
  }

  /** The connection enters the thread by a resume: nothing new is told until that is answered. */
  enterResuming (): void {
    this.#stay = newcomer()
  }

  leave (): void {
    this.#stay = undefined
  }

  live (event: ThreadEvent): void {
    const { sequence } = event
    const stay = this.#stay
    if (stay === undefined) return this.#fault(`told ${sequence} outside of the thread`)
    if (stay.next === 'resuming') this.#fault(`told ${sequence} before the resume was answered`)
    else if (stay.next !== 'unknown' && sequence !== stay.next) this.#fault(`told ${sequence} instead of ${stay.next}`)
    if (stay.next !== 'resuming') stay.next = sequence + 1
    this.#keep(event, stay)
  }

  replay (event: ThreadEvent, resuming: Resuming): void {
    const stay = this.#stay ??= newcomer()
    resuming.after ??= event.sequence - 1
    const expected = nextUntold((resuming.last ?? resuming.after) + 1, stay, event.sequence)
    if (event.sequence !== expected) this.#fault(`told ${event.sequence} again instead of ${expected}`)
    // What the connection would have been told next may come with what it has missed.
    if (event.sequence === stay.next) stay.next += 1
    resuming.last = event.sequence
    resuming.replayed += 1
    this.#keep(event, stay)
  }

  /** Everything after what the tab had seen has been told by now. */
  resumed (told: { readonly after: number, readonly replayed: number, readonly sequence: number, readonly epoch: string }, resuming: Resuming): void {
    const stay = this.#stay ??= newcomer()
    resuming.after ??= told.after
    if (told.after !== resuming.after) this.#fault(`resumed after ${told.after} instead of ${resuming.after}`)
    if (told.replayed !== resuming.replayed) this.#fault(`resumed with ${told.replayed} events, of which ${resuming.replayed} came`)
    const untold = nextUntold(resuming.after + 1, stay)
    if (untold <= told.sequence) this.#fault(`resumed to ${told.sequence} without ${untold}`)
    if (typeof stay.next === 'number' && stay.next !== told.sequence + 1) this.#fault(`resumed to ${told.sequence} before ${stay.next}`)
    stay.next = told.sequence + 1
    this.#reach(told.sequence, told.epoch)
  }

  #keep (event: ThreadEvent, stay: Stay): void {
    const kept: ThreadEvent = { ...event }
    delete (kept as { replayed?: boolean }).replayed // it is a copy, and says only how it was told
    if (stay.told.has(event.sequence)) this.#fault(`told ${event.sequence} twice`)
    stay.told.add(event.sequence)
    const known = this.events.get(event.sequence)
    if (known !== undefined && !isDeepStrictEqual(known, kept)) {
      this.#fault(`${event.sequence} was ${JSON.stringify(known)} and is ${JSON.stringify(kept)}`)
    }
    this.events.set(event.sequence, kept)
    this.#reach(event.sequence, event.epoch)
  }

  #reach (sequence: number, epoch: string): void {
    if (this.#last !== undefined && this.#last.epoch !== epoch) this.#fault(`the epoch has become ${epoch}`)
    this.#last = { after: Math.max(sequence, this.#last?.after ?? 0), epoch }
  }
}

/** The first sequence that has to be told, of those before `until`; what may be told again does not have to be. */
function nextUntold (from: number, { told, before }: Stay, until = Infinity): number {
  let next = from
  while (next < until && (told.has(next) || before.has(next))) next += 1
  return told.has(next) ? nextUntold(next + 1, { next, told, before }) : next
}

function newcomer (): Stay {
  return { next: 'resuming', told: new Set(), before: new Set() }
}

export function resumingAfter (after: number | undefined): Resuming {
  return { after, last: after, replayed: 0 }
}
