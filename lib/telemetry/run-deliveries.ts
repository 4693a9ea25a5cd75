import type { ConnectionId, ThreadId, UserId } from '../protocol/ids.ts'

/** Events of one run that one connection received, while it was in one thread. */
export interface Delivery {
  readonly connectionId: ConnectionId
  /** Whose the connection is. */
  readonly userId: UserId
  /** The thread that the connection was in. */
  readonly threadId: ThreadId | undefined
  /** The thread that the events are of, where they are of one. */
  readonly eventThreadId: ThreadId | null
  /** Whether they were sent again after it came back. */
  readonly replayed: boolean
  /** First and last sequence of each range without a gap, in the order of delivery. */
  readonly sequences: readonly (readonly [number, number])[]
  /** Events without a sequence: answers and notices. */
  readonly unsequenced: number
}

interface Noted extends Delivery { readonly sequences: [number, number][], unsequenced: number }

type Recipient = Pick<Delivery, 'connectionId' | 'userId' | 'threadId'>

const maxConnections = 256
const maxRanges = 64

/** Which connections received which events of a run. Bounded: what is beyond is counted. */
export class RunDeliveries {
  readonly #noted = new Map<ConnectionId, Noted[]>()
  #dropped = 0

  get dropped (): number { return this.#dropped }

  note ({ connectionId, userId, threadId }: Recipient, eventThreadId: ThreadId | null, sequence: number | undefined, replayed: boolean): void {
    const ofConnection = this.#noted.get(connectionId) ?? []
    let noted = ofConnection.find((one) => one.threadId === threadId && one.replayed === replayed && one.eventThreadId === eventThreadId && one.userId === userId)
    if (noted === undefined) {
      if (this.#noted.size >= maxConnections || ofConnection.length >= maxRanges) {
        this.#dropped += 1
        return
      }
      noted = { connectionId, userId, threadId, eventThreadId, replayed, sequences: [], unsequenced: 0 }
      ofConnection.push(noted)
      this.#noted.set(connectionId, ofConnection)
    }
    if (sequence === undefined) noted.unsequenced += 1
    else this.#extend(noted.sequences, sequence)
  }

  list (): readonly Delivery[] {
    return [...this.#noted.values()].flat().map((noted) => ({ ...noted, sequences: noted.sequences.map(([first, last]) => [first, last] as const) }))
  }

  #extend (ranges: [number, number][], sequence: number): void {
    const last = ranges.at(-1)
    if (last !== undefined && sequence === last[1] + 1) last[1] = sequence
    else if (ranges.length < maxRanges) ranges.push([sequence, sequence])
    else this.#dropped += 1
  }
}
