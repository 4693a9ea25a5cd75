import { currentThread } from '../context/current-thread.ts'
import type { Handler } from './handler.ts'

/** Brings back a thread that was put away, or one that was deleted and is not purged yet. */
export const restoreThread: Handler<'restore_thread'> = async (_command, connection, { storage }) => {
  const thread = await storage.threads.restore(currentThread().threadId)

  connection.reply('thread_updated', thread)
  connection.tellOthers('thread_updated', thread)
}
