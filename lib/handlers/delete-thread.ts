import { currentThread } from '../context/current-thread.ts'
import type { Handler } from './handler.ts'

/** How long the stopped runs may take to tell their end before the thread is hidden all the same. */
const endingMs = 2_000

/** Stops a thread's runs, hides it, and takes the user's connections out of it. Its rows are kept until they are purged. */
export const deleteThread: Handler<'delete_thread'> = async (_command, connection, { storage, engine }) => {
  const { threadId } = currentThread()
  await engine.stop({ reason: 'cancelled' })
  await engine.idle(endingMs)
  await storage.threads.remove(threadId)

  connection.vacate()
  connection.reply('thread_deleted', { thread_id: threadId })
  connection.tellOthers('thread_deleted', { thread_id: threadId })
}
