import { sql, type Selectable } from 'kysely'
import { currentIdentity } from '../context/current-thread.ts'
import { guard } from '../context/guard.ts'
import { ThreadlineError } from '../errors.ts'
import type { MessageView } from '../protocol/events.ts'
import { toUserId, type MessageId, type ThreadId } from '../protocol/ids.ts'
import type { MessageStore } from './storage.ts'
import { query, type MessagesTable } from './tables.ts'
import { requireThread } from './thread-store.ts'
import type { UnitOfWork, UnitsOfWork } from './unit-of-work.ts'

/**
 * The messages of a thread, in the order of its turns: each message of the user, then the answer to it, also where the user
 * wrote the next message before the answer was there.
 */
export function createMessageStore (units: UnitsOfWork): MessageStore {
  return {
    history: async (threadId, { limit, before }) => await units.asUser(async (unit) => {
      // Both at once: they travel behind each other and are answered in one round trip.
      const [, position] = await Promise.all([
        requireThread(unit, threadId), before === undefined ? undefined : positionOf(unit, threadId, before)
      ])
      let messages = query.selectFrom('messages').selectAll()
        .where('thread_id', '=', threadId).where('user_id', '=', currentIdentity().userId)
      if (position !== undefined) {
        messages = messages.where(sql<boolean>`(turn, ordinal) < (${position.turn}, ${position.ordinal})`)
      }
      const rows = await unit.lastRows(messages.orderBy('turn', 'desc').orderBy('ordinal', 'desc').limit(limit + 1))
      return { messages: rows.slice(0, limit).reverse().map(toMessageView), hasMore: rows.length > limit }
    })
  }
}

async function positionOf (unit: UnitOfWork, threadId: ThreadId, messageId: MessageId) {
  const [position] = await unit.rows(query.selectFrom('messages').select(['turn', 'ordinal'])
    .where('thread_id', '=', threadId).where('user_id', '=', currentIdentity().userId).where('message_id', '=', messageId))
  if (position === undefined) throw new ThreadlineError('THREADLINE_NOT_FOUND', 'There is no such message')
  return position
}

function toMessageView (row: Selectable<MessagesTable>): MessageView {
  guard({ userId: toUserId(row.user_id) }, 'storage')
  return {
    message_id: row.message_id,
    thread_id: row.thread_id,
    run_id: row.run_id,
    role: row.role,
    content: row.content,
    created_at: row.created_at
  }
}
