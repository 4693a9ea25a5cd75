import type { MessageView } from '../protocol/events.ts'
import type { MessageId, ThreadId } from '../protocol/ids.ts'

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
