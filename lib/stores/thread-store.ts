import type { ListedState } from '../protocol/commands.ts'
import type { ActiveRun, SearchResult, ThreadView } from '../protocol/events.ts'
import type { MessageId, ThreadId } from '../protocol/ids.ts'

type Metadata = Readonly<Record<string, unknown>>

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
  create (threadId: ThreadId, options?: { title?: string | undefined, metadata?: Metadata | undefined }): Promise<ThreadView>
  require (threadId: ThreadId, options?: { deleted?: boolean }): Promise<ThreadView>
  state (threadId: ThreadId): Promise<ThreadState>
  /** Changes what is given; `metadata` is replaced as a whole. */
  update (threadId: ThreadId, changes: { title?: string | undefined, metadata?: Metadata | undefined }): Promise<ThreadView>
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
