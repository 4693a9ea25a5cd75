import type { Handler } from './handler.ts'

/** The user's threads, newest first. */
export const listThreads: Handler<'list_threads'> = async ({ payload }, connection, { storage }) => {
  const { limit = 20, offset = 0 } = payload
  const { threads, total } = await storage.threads.list({ limit, offset })

  connection.reply('thread_list', { threads: [...threads], total, limit, offset })
}
