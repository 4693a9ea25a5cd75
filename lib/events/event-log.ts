import type { NewThreadEvent, ThreadEvent } from '../protocol/events.ts'
import type { ThreadId } from '../protocol/ids.ts'
import type { RunStep } from '../stores/run-step.ts'

export type Unfollow = () => void

/**
 * The ordered events of each thread.
 *
 * `append` stores an event of the active run and numbers it: from 1 without gaps per thread, in the order of the calls. It is
 * durable when the promise resolves, and told to followers only then. Appending the same `event_id` again stores nothing. A `step` is stored
 * with its event, in one transaction, and told to nobody.
 * Throws `THREADLINE_CONTEXT_MISMATCH` for an event of another identity, `THREADLINE_INVALID_CONTEXT`, `THREADLINE_THREAD_NOT_FOUND`, `THREADLINE_CONFLICT` when the
 * run has ended or a newer attempt has taken it over, `THREADLINE_STORAGE_UNAVAILABLE` when too many appends wait.
 *
 * `follow` tells every event of one thread that is appended from now on, once and in order, each in the context of the
 * run that it belongs to, whichever node has appended it. The follower is the user that is active when `follow` is called; a thread of another user tells nothing. Of
 * what other nodes append nothing is missed once it is known from where: `stand` says that everything up to a sequence is known. Before that, a
 * follower may be told events with a gap, and one who comes where others are may be told some that were appended just before. `gone` is called once, in the
 * name of the follower's user, when other nodes have deleted the thread, or erased it, and nobody has told: the log itself has nothing more to tell then.
 *
 * `read` gives the events after a sequence, in order, at most `limit`; `expired` when some of them are not kept any more. Whoever asks has
 * found the thread in the storage: a deleted one may still be read for a moment. Throws `THREADLINE_THREAD_NOT_FOUND`.
 */
export interface EventLog {
  append (event: NewThreadEvent, attempt: number, step?: RunStep): Promise<ThreadEvent>
  follow (threadId: ThreadId, receive: (event: ThreadEvent) => void, gone?: () => void): Unfollow
  /** A follower of the thread knows it up to a sequence that was read after `follow`. Changes nothing where the position is known. */
  stand (threadId: ThreadId, sequence: number): void
  read (threadId: ThreadId, after: number, limit: number): Promise<readonly ThreadEvent[] | 'expired'>
  /** Keeps nothing at hand any more of one thread of the active user, or of all of them: what is stored has been hidden or erased. */
  forget (threadId?: ThreadId): void
  /** Followed threads; 0 when nobody is connected. */
  readonly followed: number
  /** Events of all threads that wait to be stored. */
  readonly waiting: number
  /** Waits for what is being appended or read, then refuses everything, and tells nothing more. */
  close (): Promise<void>
}
