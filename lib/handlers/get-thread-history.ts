import { currentThread } from '../context/current-thread.ts'
import { toMessageId } from '../protocol/ids.ts'
import type { Handler } from './handler.ts'

/** Messages of the thread, oldest first: the last 50 of the visible branch, or those on the way to a message. */
export const getThreadHistory: Handler<'get_thread_history'> = async ({ payload }, connection, { storage }) => {
  const { limit = 50 } = payload
  const before = payload.before === undefined ? undefined : toMessageId(payload.before)
  const { messages, hasMore } = await storage.messages.history(currentThread().threadId, { limit, before })

  connection.reply('thread_history', { messages: [...messages], has_more: hasMore })
}
