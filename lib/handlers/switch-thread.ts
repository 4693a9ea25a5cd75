import { currentThread } from '../context/current-thread.ts'
import type { Handler } from './handler.ts'
import { recentMessages } from './recent-messages.ts'

/**
 * Puts the connection into the thread that the command names. Later messages run there; a run in the old thread goes on in the old
 * thread. The answer has the recent history, what the unfinished runs have answered so far, and the position from which live events
 * follow.
 */
export const switchThread: Handler<'switch_thread'> = async (_command, connection, { storage }) => {
  const { threadId } = currentThread()

  await connection.enter(async () => {
    const { thread, sequence, activeRuns } = await storage.threads.state(threadId)
    const recent = await recentMessages(storage)
    const answer = { thread, ...recent, sequence, epoch: storage.epoch, active_runs: [...activeRuns] }
    return { sequence, tell: () => { connection.reply('thread_switched', answer) } }
  })
}
