import type { Handler } from './handler.ts'

/** The user's threads, newest first. */
export const listThreads: Handler<'list_threads'> = async ({ payload }, connection, { storage }) => {
  const { limit = 20, offset = 0, cursor, state = 'active' } = payload
  const { threads, total, nextCursor } = await storage.threads.list({ limit, offset, cursor, state })

  connection.reply('thread_list', { threads: [...threads], total, limit, offset, next_cursor: nextCursor })
}
