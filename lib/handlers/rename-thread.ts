import { currentThread } from '../context/current-thread.ts'
import type { Handler } from './handler.ts'

export const renameThread: Handler<'rename_thread'> = async ({ payload }, connection, { storage }) => {
  const thread = await storage.threads.rename(currentThread().threadId, payload.title)

  connection.reply('thread_updated', thread)
  connection.tellOthers('thread_updated', thread)
}
