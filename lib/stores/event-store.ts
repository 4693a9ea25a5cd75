import type { NewThreadEvent, ThreadEvent } from '../protocol/events.ts'
import type { ThreadId, UserId } from '../protocol/ids.ts'
import type { RunStep } from './run-step.ts'

/** What became of one appended event. */
export type Appended =
  | { readonly sequence: number }
  | { readonly refused: 'thread-not-found' | 'run-not-active' | 'thread-locked' }

/** An event together with its run's attempt, the fence that keeps a stale execution from writing. */
export interface AppendedEvent {
  readonly event: NewThreadEvent
  readonly attempt: number
  /** What the run need not do again. */
  readonly step?: RunStep | undefined
}

/** Which thread, and whose. */
export interface ThreadKey {
  readonly userId: UserId
  readonly threadId: ThreadId
}

/** How far the log of a thread reaches, and whose it is. */
export interface LogEnd {
  readonly userId: UserId
  readonly sequence: number
}

export interface EventStore {
  /** How many batches are best written beside each other; no two of them should be of the same thread. 1 without it. */
  readonly batchesAtOnce?: number
  /**
   * Appends events of any number of users in one transaction, each under row-level security in its own user's name, and
   * numbers them per thread from 1 without gaps, in the order given. An `event_id` that is already stored is not stored
   * again; its first sequence is returned. An `agent_completed` ends its run (compare and set on status `running` or `queued`,
   * `run-not-active` otherwise), stores its usage and, when its payload has `message_id` and `content`, the assistant's message: it
   * follows the message that it answers, what the user wrote meanwhile follows it, and it becomes the head of the visible branch where
   * that was the head. With the reason `rolled_back` the run's own messages are removed instead, and what followed them follows
   * what they followed. Any other
   * event of a run that has ended, or of another attempt than the stored one, is refused as `run-not-active` (events
   * of a queued run excepted, whatever their attempt). One refused event does not hinder the others of the batch, nor does a thread
   * that somebody has locked: `thread-locked` stores nothing, and may come again. A step is stored with its event
   * unless the run has ended, the first of a key for good; the steps of a run are gone with its end.
   */
  append (batch: readonly AppendedEvent[]): Promise<readonly Appended[]>
  /**
   * Events after a sequence, in order, at most `limit`; `expired` when some of them are not kept any more. Throws
   * `THREADLINE_THREAD_NOT_FOUND`.
   */
  read (threadId: ThreadId, after: number, limit: number): Promise<readonly ThreadEvent[] | 'expired'>
  /**
   * The last sequence of threads of any users, in one statement. A thread that is deleted, unknown or another user's is not in the answer. Asked
   * outside of any identity.
   */
  positions (threads: readonly ThreadKey[]): Promise<ReadonlyMap<ThreadId, LogEnd>>
}
