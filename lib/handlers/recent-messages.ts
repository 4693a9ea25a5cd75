import { currentThread } from '../context/current-thread.ts'
import type { PayloadOf } from '../protocol/events.ts'
import type { Storage } from '../stores/storage.ts'

/** The newest messages of the active thread's visible branch, oldest first: what a client shows when it comes to a thread. */
export async function recentMessages ({ messages }: Pick<Storage, 'messages'>): Promise<PayloadOf<'thread_history'>> {
  const page = await messages.history(currentThread().threadId, { limit: 50 })
  return { messages: [...page.messages], has_more: page.hasMore }
}
