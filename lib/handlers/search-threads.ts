import type { Handler } from './handler.ts'

/** The user's threads that match, the best match first. */
export const searchThreads: Handler<'search_threads'> = async ({ payload }, connection, { storage }) => {
  const { query, cursor, limit = 20 } = payload
  const { results, nextCursor } = await storage.threads.search(query, { limit, cursor })

  connection.reply('search_results', { results: [...results], next_cursor: nextCursor })
}
