import { currentThread } from '../context/current-thread.ts'
import type { Handler } from './handler.ts'

/** Changes the title or the metadata of a thread, whichever is given. */
export const updateThread: Handler<'update_thread'> = async ({ payload: { title, metadata } }, connection, { storage }) => {
  const thread = await storage.threads.update(currentThread().threadId, { title, metadata })

  connection.reply('thread_updated', thread)
  connection.tellOthers('thread_updated', thread)
}
