import type { ListedState, MultitaskStrategy } from '../protocol/commands.ts'
import type {
  ActiveRun, MessageView, NewThreadEvent, RunOutcome, RunStatus, SearchResult, ThreadEvent, ThreadView
} from '../protocol/events.ts'
import type { ConnectionId, MessageId, RequestId, RunId, ThreadId, UserId } from '../protocol/ids.ts'
import type { DatabaseProtection } from '../protocol/run-isolation.ts'

/**
 * Everything that outlives the process. Each call reads its user from the active identity, does its work in one transaction
 * under row-level security, and throws `THREADLINE_NO_CONTEXT` outside of an identity. Foreign and unknown resources are told
 * apart nowhere. When the database cannot be reached, `THREADLINE_STORAGE_UNAVAILABLE` is thrown.
 */
export interface Storage {
  readonly threads: ThreadStore
  readonly messages: MessageStore
  readonly runs: RunStore
  readonly events: EventStore
  readonly queue: QueueStore
  readonly limits: LimitStore
  readonly tickets: TicketStore
  readonly account: AccountStore
  readonly upkeep: Upkeep
  /** Named by every position in a thread; another one means that sequences have started anew. */
  readonly epoch: string
  /**
   * The secret that the nodes of this database sign with: random, made once, 32 bytes. Only the role of the system can read it. Asked outside of
   * any identity.
   */
  signingKey (): Promise<Uint8Array>
  /** How the database protects the rows of the active user, as it stands in a unit of work of that user. */
  protection (): Promise<DatabaseProtection>
  /** Resolves when the database answers. */
  ping (): Promise<void>
  close (): Promise<void>
}

type Data = Readonly<Record<string, unknown>>

export interface ThreadPage {
  readonly threads: readonly ThreadView[]
  readonly total: number
  /** Opaque; null when nothing follows. */
  readonly nextCursor: string | null
}

/** Where a thread stands at one moment: all of it is read at once. */
export interface ThreadState {
  readonly thread: ThreadView
  /** Of the last event; 0 before the first. */
  readonly sequence: number
  /** Events up to this sequence are not kept any more; 0 while all are. */
  readonly keptAfter: number
  /** Unfinished runs in the order of their turns; the text of each is what its deltas say up to `sequence`. */
  readonly activeRuns: readonly ActiveRun[]
}

/**
 * The active user's threads. Where a thread is named, `THREADLINE_THREAD_NOT_FOUND` is thrown for one that is another user's, unknown or,
 * but for `restore` and where it is asked for, deleted.
 */
export interface ThreadStore {
  create (threadId: ThreadId, options?: { title?: string | undefined, metadata?: Data | undefined }): Promise<ThreadView>
  require (threadId: ThreadId, options?: { deleted?: boolean }): Promise<ThreadView>
  state (threadId: ThreadId): Promise<ThreadState>
  /** Changes what is given; `metadata` is replaced as a whole. */
  update (threadId: ThreadId, changes: { title?: string | undefined, metadata?: Data | undefined }): Promise<ThreadView>
  /** Gives a title to a thread that has none; undefined, and nothing changes, when it has one meanwhile or is gone. */
  suggestTitle (threadId: ThreadId, title: string): Promise<ThreadView | undefined>
  /** Takes the thread out of the list of active ones. A new message brings it back. */
  archive (threadId: ThreadId): Promise<ThreadView>
  /**
   * Hides the thread, and ends its unfinished runs as `cancelled`, in the log too, which nobody is told. Its rows are kept until they are
   * purged.
   */
  remove (threadId: ThreadId): Promise<void>
  /** Takes the rows of a deleted thread away at once, without waiting for its retention. Nothing happens to any other. */
  purge (threadId: ThreadId): Promise<void>
  /** Makes an archived or deleted thread an active one again, as it was. Nothing changes for an active one. */
  restore (threadId: ThreadId): Promise<ThreadView>
  /** The one that was last written to first. `offset` counts from the cursor. Throws `THREADLINE_BAD_REQUEST` for a malformed cursor. */
  list (page: { limit: number, offset?: number, cursor?: string | undefined, state?: ListedState }): Promise<ThreadPage>
  /**
   * Threads that are not deleted and whose title or messages of the visible branch or of another match, the best match first, each once.
   * The query is as people write it (`websearch_to_tsquery`). Throws `THREADLINE_BAD_REQUEST` for a malformed cursor.
   */
  search (query: string, page: { limit: number, cursor?: string | undefined }): Promise<{
    results: readonly SearchResult[], nextCursor: string | null
  }>
  /**
   * Makes `target` out of the messages on the way to a message (the newest of the visible branch when absent), under ids of their own and
   * without runs. Throws `THREADLINE_NOT_FOUND` for a message that the source does not have.
   */
  fork (source: ThreadId, target: ThreadId, options: { messageId?: MessageId | undefined, title?: string | undefined }): Promise<ThreadView>
}

export interface MessagePage {
  readonly messages: readonly MessageView[]
  readonly hasMore: boolean
}

/**
 * The messages of a thread are a tree: each but the first follows another. An edited message is a sibling of the one that it replaces, an
 * answer that was asked for again a sibling of the first. The visible branch leads from the beginning to the thread's head.
 */
export interface MessageStore {
  /**
   * At most `limit` messages, oldest first: the newest of the visible branch, or those on the way to a message, itself not included. A
   * message that had to wait follows the answer that it waited for. Throws `THREADLINE_THREAD_NOT_FOUND`, and `THREADLINE_NOT_FOUND` for a
   * `before` that the thread does not have.
   */
  history (threadId: ThreadId, page: { limit: number, before?: MessageId | undefined }): Promise<MessagePage>
  /**
   * Makes the newest branch that leads through a message the visible one. Throws `THREADLINE_THREAD_NOT_FOUND`, and
   * `THREADLINE_NOT_FOUND` for a message that the thread does not have.
   */
  selectBranch (threadId: ThreadId, messageId: MessageId): Promise<void>
}

export type { RunOutcome, RunStatus }

export interface RunRecord {
  readonly runId: RunId
  readonly threadId: ThreadId
  readonly userId: UserId
  readonly messageId: MessageId
  readonly requestId: RequestId
  readonly connectionId: ConnectionId | null
  readonly agent: string
  readonly input: string
  readonly context: Readonly<Record<string, unknown>>
  readonly status: RunStatus
  /** 0 before it is first claimed. Appends of a run whose attempt is not the stored one are refused. */
  readonly attempt: number
  /** How many of its attempts have ended by being given back, and not by the death of their process. */
  readonly givenBack: number
  readonly traceparent: string | null
  readonly createdAt: string
  readonly startedAt: string | null
  readonly finishedAt: string | null
  readonly error: string | null
  /** Made by who accepted it; null when that was a version that signed nothing. */
  readonly signature: string | null
  /** Why it is to stop; null while nobody has asked for that. */
  readonly stopReason: string | null
}

/** A run, with what it answers. Ids and times come from the caller. */
interface NewRun {
  readonly runId: RunId
  readonly threadId: ThreadId
  /** The client's own id. A second run of the user with the same one and the same input is the same run. */
  readonly clientId: string | undefined
  readonly agent: string
  readonly context: Data
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
  readonly metadata: Data
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
   * message becomes the head of the visible branch.
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

/** What became of one appended event. */
export type Appended =
  | { readonly sequence: number }
  | { readonly refused: 'thread-not-found' | 'run-not-active' | 'thread-locked' }

export interface EventStore {
  /** How many batches are best written beside each other; no two of them should be of the same thread. */
  readonly batchesAtOnce: number
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
  positions (threads: readonly ClaimableThread[]): Promise<ReadonlyMap<ThreadId, number>>
}

export interface AppendedEvent {
  readonly event: NewThreadEvent
  readonly attempt: number
  /** What the run need not do again. */
  readonly step?: RunStep | undefined
}

export interface Ticket {
  readonly userId: UserId
  /** When the token that the ticket was bought with expires (ISO 8601), or null. */
  readonly tokenExpiresAt: string | null
}

export interface TicketStore {
  /** Keeps a ticket of the active user under the SHA-256 of its secret. */
  issue (secretHash: string, ticket: Omit<Ticket, 'userId'>, expiresAt: Date): Promise<void>
  /** Takes the ticket, once: undefined when it is unknown, used or expired. Called before there is an identity. */
  redeem (secretHash: string): Promise<Ticket | undefined>
}

export interface Usage {
  readonly threads: number
  readonly messages: number
  readonly runs: number
  /** Tokens of everything that models were asked in the user's name, by model. */
  readonly models: ReadonlyArray<{ readonly model: string, readonly inputTokens: number, readonly outputTokens: number }>
}

/** What was erased. */
export type Erased = Readonly<Record<'threads' | 'messages' | 'runs' | 'events', number>>

/** All that is kept of the active user. */
export interface AccountStore {
  usage (): Promise<Usage>
  /** Tokens that a model was asked for in the user's name beside the steps of a run: for a title. */
  recordUsage (usage: { runId: RunId, threadId: ThreadId, model: string, inputTokens: number, outputTokens: number }): Promise<void>
  /** Removes every row of the user from every table, at once and for good. Runs that still go on cannot store anything any more. */
  erase (): Promise<Erased>
}

export interface Purged { readonly threads: number, readonly events: number }

/** Housekeeping over all users, outside of any identity: each thread is worked on in the name of its own user. */
export interface Upkeep {
  /**
   * Removes threads that were deleted before a time, with everything in them, and events stored before a time of threads in which
   * nothing is unfinished; at most `limit` threads of each, the oldest first. Expired tickets go as well. Aborting ends it behind the
   * transaction that it is at; what was done stays done.
   */
  purge (what: { deletedBefore: Date, eventsBefore?: Date | undefined, limit: number, signal?: AbortSignal | undefined }): Promise<Purged>
}

/** Who executes a run, and for how long nobody else may when nothing is heard of it. */
export interface Lease {
  readonly worker: string
  readonly leaseMs: number
}

/** One attempt of a run: the fence that keeps a stale execution from writing. */
export interface LeasedRun {
  readonly runId: RunId
  readonly attempt: number
}

export interface RenewedRun extends LeasedRun {
  /** Why the run is to stop, when somebody has asked for it on another node. */
  readonly stopReason: string | null
}

export interface ClaimableThread {
  readonly userId: UserId
  readonly threadId: ThreadId
}

/**
 * The runs of all users as a queue. The table of the runs is the queue itself: a run is queued by the transaction that accepts its message.
 * Leases are counted by the database's clock alone. What concerns one run is done in the name of the active user.
 */
export interface QueueStore {
  /**
   * Threads in which a run can be taken: one is queued and none is running, or the lease of the running one is over. They come as if each was given
   * to the user who then has the fewest runs under way: to those who have waited longest among several, and of each user the thread that has waited
   * longest. At most `limit`, and only those that have waited for `waitedMs`. Those that nobody can work on, since an id in their row is none of ours, are
   * left out and counted. Asked outside of any identity.
   */
  claimable (options: { limit: number, waitedMs?: number | undefined }): Promise<readonly ClaimableThread[]>
  /** Renews the leases of runs of any users that this worker still has, and answers with those. Asked outside of any identity. */
  renew (lease: Lease, runs: readonly LeasedRun[]): Promise<readonly RenewedRun[]>
  /**
   * Gives a run of the active user back: its lease is over at once. Nothing happens when somebody else has it. `inVain`: its attempt counts as one
   * whose process has died, and what brings every process down is not begun again for ever.
   */
  release (run: LeasedRun, options?: { inVain?: boolean }): Promise<void>
  /** Asks whoever executes a run of the active user to stop it. Who asks first says why; false when it is not running, or was asked before. */
  requestStop (runId: RunId, reason: string): Promise<boolean>
  /** What the run has done and need not do again, in the order in which it was stored. */
  steps (runId: RunId): Promise<readonly RunStep[]>
  /** How many runs are queued and how many running, of all users. Asked outside of any identity. */
  depth (): Promise<{ readonly queued: number, readonly running: number }>
}

/**
 * A part of a run that has been done: what a model has said in one step, what a tool has found. Stored together with the event that it is handed
 * in with, so both or neither. Gone when the run ends. `body` is JSON.
 */
export interface RunStep {
  readonly key: string
  readonly body: unknown
}

export interface SentFrames {
  readonly userId: UserId
  readonly count: number
}

/** What users may do in a while, counted for all nodes of the database together, by its clock. */
export interface LimitStore {
  /**
   * Counts frames of any number of users, in one statement, and says of each item whether it was within the limit; one that was not is not counted. A
   * sliding window: in no span of `windowMs` are there more than `limit`. Room is free again at most a tenth of the window late. Windows of
   * different length are counted apart. After a crash of the database they are empty. Asked outside of any identity.
   */
  admit (frames: readonly SentFrames[], window: { readonly limit: number, readonly windowMs: number }): Promise<readonly boolean[]>
}
