import { currentThread } from '../context/current-thread.ts'
import { ThreadlineError } from '../errors.ts'
import { isMessageId } from '../protocol/ids.ts'
import type { Handler } from './handler.ts'

/** Messages of the thread, oldest first: the last 50, or those before a message. */
export const getThreadHistory: Handler<'get_thread_history'> = async ({ payload }, connection, { storage }) => {
  const { before, limit = 50 } = payload
  if (before !== undefined && !isMessageId(before)) throw new ThreadlineError('THREADLINE_BAD_REQUEST', 'before is not a message id')
  const { messages, hasMore } = await storage.messages.history(currentThread().threadId, { limit, before })

  connection.reply('thread_history', { messages: [...messages], has_more: hasMore })
}
