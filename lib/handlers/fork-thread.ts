import { currentThread } from '../context/current-thread.ts'
import { newThreadId, toMessageId } from '../protocol/ids.ts'
import type { Handler } from './handler.ts'

/** Makes a thread of its own out of a conversation up to a message. The connection stays where it is. */
export const forkThread: Handler<'fork_thread'> = async ({ payload }, connection, { storage }) => {
  const { message_id: text, title } = payload
  const messageId = text === undefined ? undefined : toMessageId(text)
  const thread = await storage.threads.fork(currentThread().threadId, newThreadId(), { messageId, title })

  connection.reply('thread_created', thread)
  connection.tellOthers('thread_created', thread)
}
