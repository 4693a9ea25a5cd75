import { currentThread } from '../context/current-thread.ts'
import type { Handler } from './handler.ts'

/** A thread as it stands, with what goes on in it. */
export const getThread: Handler<'get_thread'> = async (_command, connection, { storage }) => {
  const { thread, sequence, activeRuns } = await storage.threads.state(currentThread().threadId)

  connection.reply('thread_state', { thread, sequence, epoch: storage.epoch, active_runs: [...activeRuns] })
}
