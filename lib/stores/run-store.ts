import type { MultitaskStrategy } from '../protocol/commands.ts'
import type { ThreadView } from '../protocol/events.ts'
import type { MessageId, RunId, ThreadId } from '../protocol/ids.ts'
import type { Lease } from './queue-store.ts'
import type { RunRecord } from './run-record.ts'

/** A run, with what it answers. Ids and times come from the caller. */
interface NewRun {
  readonly runId: RunId
  readonly threadId: ThreadId
  /** The client's own id. A second run of the user with the same one and the same input is the same run. */
  readonly clientId: string | undefined
  readonly agent: string
  readonly context: Readonly<Record<string, unknown>>
  readonly strategy: MultitaskStrategy
  readonly traceparent: string | undefined
  /** Says that the identity and the trace of the run are from a node of ours. The storage keeps it and does not know what it means. */
  readonly signature: string
  /** Queued and running runs that the thread may hold beside this one. */
  readonly maxWaiting: number
}

/** A message of the user together with the run that answers it. */
export interface AcceptedMessage extends NewRun {
  readonly messageId: MessageId
  /** The thread is created in the same transaction. */
  readonly newThread: boolean
  readonly content: string
  readonly metadata: Readonly<Record<string, unknown>>
  /** A message of the user in this thread, whose sibling this one becomes. Otherwise it follows the head of the visible branch. */
  readonly editOf?: MessageId | undefined
}

/** One more run for a message that the thread already has. */
export interface Regeneration extends Omit<NewRun, 'agent'> {
  /** The message of the user, or an answer to it; the newest of the visible branch when absent. */
  readonly messageId: MessageId | undefined
  /** The one that answered the message first when absent. */
  readonly agent: string | undefined
  /** For a message that no run of this thread has answered: one that was taken over from another thread. */
  readonly defaultAgent: string
}

export interface Acceptance {
  readonly messageId: MessageId
  readonly runId: RunId
  /** It had been accepted before; nothing was stored now. */
  readonly duplicate: boolean
  /** Unfinished runs that stand before this one in its thread. */
  readonly position: number
  readonly thread: ThreadView
}

export interface RunStore {
  /**
   * Stores message and run, and the thread if it is new, in one transaction. Throws `THREADLINE_THREAD_NOT_FOUND`,
   * `THREADLINE_THREAD_BUSY` (strategy `reject` and a run is unfinished), `THREADLINE_QUEUE_FULL`, and `THREADLINE_CONFLICT` for
   * a client id that was used for other content, `THREADLINE_NOT_FOUND` for an `editOf` that is no message of the user in this thread. The
   * message becomes the head of the visible branch. With the strategies `interrupt` and `rollback` the runs that stand before it are asked to stop: who
   * executes them hears of it from the queue, and who takes them finds it in their record.
   */
  accept (message: AcceptedMessage): Promise<Acceptance>
  /**
   * Stores one more run for a message; its answer becomes a sibling of the first. Until then the message is the head of the visible branch.
   * Throws what `accept` throws, and `THREADLINE_NOT_FOUND` when there is no such message, or none at all.
   */
  regenerate (run: Regeneration): Promise<Acceptance>
  /**
   * Takes the oldest queued run of the thread, unless one is running, or the running one whose lease is over: sets it running, counts its
   * attempt, leases it and returns it. The database itself allows one running run per thread. Undefined when there is nothing to take. A run that a
   * version without leases has claimed can be taken over ten minutes after its start.
   */
  claimNext (threadId: ThreadId, lease: Lease): Promise<RunRecord | undefined>
  /** The run, if it is the user's own; throws `THREADLINE_RUN_NOT_FOUND` otherwise. */
  require (runId: RunId): Promise<RunRecord>
  /** Queued and running runs of the thread, oldest first; none of a thread that the user does not have. */
  unfinished (threadId: ThreadId): Promise<readonly RunRecord[]>
  /** Threads of the user in which a run is queued or running. */
  unfinishedThreads (): Promise<readonly ThreadId[]>
  /** Runs of the thread, newest first. Throws `THREADLINE_THREAD_NOT_FOUND`, `THREADLINE_RUN_NOT_FOUND` for a `before` that it does not have. */
  list (threadId: ThreadId, page: { limit: number, before?: RunId | undefined }): Promise<{ runs: readonly RunRecord[], hasMore: boolean }>
  /** Tool calls that the log has announced and not completed, of a run whose process died. */
  openTools (runId: RunId): Promise<readonly OpenTool[]>
  /** The sequence of the run's first event; undefined before it. */
  firstSequence (runId: RunId): Promise<number | undefined>
  /**
   * Unfinished runs of all users: read once at start, outside of any identity, under a role that may do nothing else.
   * Each is then worked on under its own identity. Those that nobody can work on, since an id in their row is none of ours, are left out and counted.
   */
  recoverable (): Promise<readonly RunRecord[]>
}

export interface OpenTool { readonly toolCallId: string, readonly tool: string }
