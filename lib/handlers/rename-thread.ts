import { currentThread } from '../context/current-thread.ts'
import type { Handler } from './handler.ts'

export const renameThread: Handler<'rename_thread'> = async ({ payload: { title } }, connection, { storage }) => {
  const thread = await storage.threads.update(currentThread().threadId, { title })

  connection.reply('thread_updated', thread)
  connection.tellOthers('thread_updated', thread)
}
