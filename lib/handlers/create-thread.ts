import { newThreadId } from '../protocol/ids.ts'
import type { Handler } from './handler.ts'

/** Makes a thread. The connection stays in its own; `switch_thread` enters the new one. */
export const createThread: Handler<'create_thread'> = async ({ payload: { title, metadata } }, connection, { storage }) => {
  const thread = await storage.threads.create(newThreadId(), { title, metadata })

  connection.reply('thread_created', thread)
  connection.tellOthers('thread_created', thread)
}
