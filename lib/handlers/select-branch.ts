import { currentThread } from '../context/current-thread.ts'
import { toMessageId } from '../protocol/ids.ts'
import type { Handler } from './handler.ts'
import { recentMessages } from './recent-messages.ts'

/** Shows another branch of the thread, to whoever is in it. */
export const selectBranch: Handler<'select_branch'> = async ({ payload }, connection, { storage }) => {
  await storage.messages.selectBranch(currentThread().threadId, toMessageId(payload.message_id))
  const recent = await recentMessages(storage)

  connection.reply('branch_selected', recent)
  connection.tellThread('branch_selected', recent)
}
