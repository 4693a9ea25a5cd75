import type { NewThreadEvent, ThreadEvent } from '../protocol/events.ts'
import type { ThreadId, UserId } from '../protocol/ids.ts'

/** An event together with its run's attempt, the fence that keeps a stale execution from writing. */
export interface Append {
  readonly event: NewThreadEvent
  readonly attempt: number
  /** What the run need not do again; stored with the event, or not at all. */
  readonly step?: RunStep
}

/** A part of a run that has been done. `body` is JSON. */
export interface RunStep {
  readonly key: string
  readonly body: unknown
}

export type Appended =
  | { readonly sequence: number }
  | { readonly refused: 'thread-not-found' | 'run-not-active' | 'thread-locked' }

/** What the log asks of the database; its promises are told at `lib/storage`'s port of the same name. */
export interface EventStore {
  /** Batches of different threads that are written sooner beside each other than one after the other; 1 without it. */
  readonly batchesAtOnce?: number
  append (batch: readonly Append[]): Promise<readonly Appended[]>
  read (threadId: ThreadId, after: number, limit: number): Promise<readonly ThreadEvent[] | 'expired'>
  positions (threads: readonly { readonly userId: UserId, readonly threadId: ThreadId }[]): Promise<ReadonlyMap<ThreadId, number>>
}
