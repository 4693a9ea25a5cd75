import { currentThread } from '../context/current-thread.ts'
import type { Handler } from './handler.ts'

/** Tells the other connections of the thread that the user is typing. Nothing is stored. */
export const typing: Handler<'typing'> = async ({ payload }, connection) => {
  const notice = { is_typing: payload.is_typing ?? true, thread_id: currentThread().threadId }

  connection.tellThread('typing', notice)
  connection.reply('typing', notice)
}
