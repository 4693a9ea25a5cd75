import type { MultitaskStrategy } from '../protocol/commands.ts'
import type { MessageView, NewThreadEvent, RunOutcome, ThreadEvent, ThreadView } from '../protocol/events.ts'
import type { ConnectionId, MessageId, RequestId, RunId, ThreadId, UserId } from '../protocol/ids.ts'

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
  readonly tickets: TicketStore
  /** Named by every position in a thread; another one means that sequences have started anew. */
  readonly epoch: string
  /** Resolves when the database answers. */
  ping (): Promise<void>
  close (): Promise<void>
}

export interface ThreadPage { readonly threads: readonly ThreadView[], readonly total: number }

export interface ThreadStore {
  create (threadId: ThreadId, title?: string): Promise<ThreadView>
  /** The thread, if it is the user's own and not deleted; throws `THREADLINE_THREAD_NOT_FOUND` otherwise. */
  require (threadId: ThreadId): Promise<ThreadView>
  rename (threadId: ThreadId, title: string): Promise<ThreadView>
  /** Hides the thread, and ends its unfinished runs as `cancelled`. Its rows are kept. */
  remove (threadId: ThreadId): Promise<void>
  /** The one that was last written to first. */
  list (page: { limit: number, offset: number }): Promise<ThreadPage>
  /** The sequence of the last event; 0 before the first. Throws `THREADLINE_THREAD_NOT_FOUND`. */
  lastSequence (threadId: ThreadId): Promise<number>
}

export interface MessageStore {
  /**
   * At most `limit` messages, oldest first: the last ones of the thread, or the last ones before a message. They stand in the order of
   * turns: a message that had to wait comes after the answer that it waited for. Throws `THREADLINE_THREAD_NOT_FOUND`, and
   * `THREADLINE_NOT_FOUND` for a `before` that the thread does not have.
   */
  history (threadId: ThreadId, page: { limit: number, before?: MessageId | undefined }): Promise<{
    messages: readonly MessageView[]
    hasMore: boolean
  }>
}

export type RunStatus = 'queued' | 'running' | RunOutcome

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
  readonly traceparent: string | null
  readonly createdAt: string
  readonly startedAt: string | null
  readonly finishedAt: string | null
  readonly error: string | null
}

/** A message of the user together with the run that answers it. Ids and times come from the caller. */
export interface AcceptedMessage {
  readonly messageId: MessageId
  readonly runId: RunId
  readonly threadId: ThreadId
  /** The thread is created in the same transaction. */
  readonly newThread: boolean
  readonly content: string
  readonly metadata: Readonly<Record<string, unknown>>
  /** The client's own id. A second message of the user with the same one and the same content is the same message. */
  readonly clientId: string | undefined
  readonly agent: string
  readonly context: Readonly<Record<string, unknown>>
  readonly strategy: MultitaskStrategy
  readonly traceparent: string | undefined
  /** Queued and running runs that the thread may hold beside this one. */
  readonly maxWaiting: number
}

export interface Acceptance {
  readonly messageId: MessageId
  readonly runId: RunId
  /** The message had been accepted before; nothing was stored now. */
  readonly duplicate: boolean
  /** Unfinished runs that stand before this one in its thread. */
  readonly position: number
  readonly thread: ThreadView
}

export interface RunStore {
  /**
   * Stores message and run, and the thread if it is new, in one transaction. Throws `THREADLINE_THREAD_NOT_FOUND`,
   * `THREADLINE_THREAD_BUSY` (strategy `reject` and a run is unfinished), `THREADLINE_QUEUE_FULL`, and `THREADLINE_CONFLICT` for
   * a client id that was used for other content.
   */
  accept (message: AcceptedMessage): Promise<Acceptance>
  /**
   * Takes the oldest queued run of the thread, unless one is running: sets it running, counts its attempt and returns it.
   * The database itself allows one running run per thread. Undefined when there is nothing to take.
   */
  claimNext (threadId: ThreadId): Promise<RunRecord | undefined>
  /** The run, if it is the user's own; throws `THREADLINE_RUN_NOT_FOUND` otherwise. */
  require (runId: RunId): Promise<RunRecord>
  /** Queued and running runs of the thread, oldest first; none of a thread that the user does not have. */
  unfinished (threadId: ThreadId): Promise<readonly RunRecord[]>
  /** Runs of the thread, newest first. Throws `THREADLINE_THREAD_NOT_FOUND`. */
  list (threadId: ThreadId, limit: number): Promise<readonly RunRecord[]>
  /**
   * Unfinished runs of all users: read once at start, outside of any identity, under a role that may do nothing else.
   * Each is then worked on under its own identity.
   */
  recoverable (): Promise<readonly RunRecord[]>
}

/** What became of one appended event. */
export type Appended =
  | { readonly sequence: number }
  | { readonly refused: 'thread-not-found' | 'run-not-active' }

export interface EventStore {
  /**
   * Appends events of any number of users in one transaction, each under row-level security in its own user's name, and
   * numbers them per thread from 1 without gaps, in the order given. An `event_id` that is already stored is not stored
   * again; its first sequence is returned. An `agent_completed` ends its run (compare and set on status `running` or `queued`,
   * `run-not-active` otherwise) and, when its payload has `message_id` and `content`, stores the assistant's message. Any other
   * event of a run that has ended, or of another attempt than the stored one, is refused as `run-not-active` (events
   * of a queued run excepted, whatever their attempt). One refused event does not hinder the others of the batch.
   */
  append (batch: readonly AppendedEvent[]): Promise<readonly Appended[]>
  /** Events after a sequence, in order, at most `limit`. Throws `THREADLINE_THREAD_NOT_FOUND`. */
  read (threadId: ThreadId, after: number, limit: number): Promise<readonly ThreadEvent[]>
}

export interface AppendedEvent {
  readonly event: NewThreadEvent
  readonly attempt: number
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
