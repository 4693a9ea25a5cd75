import { currentThread } from '../context/current-thread.ts'
import type { Handler } from './handler.ts'

/** Puts a thread away. Its connections and runs stay; a new message brings it back. */
export const archiveThread: Handler<'archive_thread'> = async (_command, connection, { storage }) => {
  const thread = await storage.threads.archive(currentThread().threadId)

  connection.reply('thread_updated', thread)
  connection.tellOthers('thread_updated', thread)
}
