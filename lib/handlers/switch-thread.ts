import { currentThread } from '../context/current-thread.ts'
import type { Handler } from './handler.ts'

const recentMessages = 50

/**
 * Puts the connection into the thread that the command names. Later messages run there; a run in the old thread goes on in the old
 * thread. The answer has the recent history and the position from which live events follow.
 */
export const switchThread: Handler<'switch_thread'> = async (_command, connection, { storage }) => {
  const { threadId } = currentThread()
  const thread = await storage.threads.require(threadId)

  await connection.enter(async () => {
    const sequence = await storage.threads.lastSequence(threadId)
    const { messages } = await storage.messages.history(threadId, { limit: recentMessages })
    const answer = { thread, messages: [...messages], sequence, epoch: storage.epoch }
    return { sequence, tell: () => { connection.reply('thread_switched', answer) } }
  })
}
