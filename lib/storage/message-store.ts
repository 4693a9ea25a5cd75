import { sql, type RawBuilder, type Selectable } from 'kysely'
import { currentIdentity } from '../context/current-thread.ts'
import { guard } from '../context/guard.ts'
import { ThreadlineError } from '../errors.ts'
import type { MessageView } from '../protocol/events.ts'
import { toUserId, type MessageId, type ThreadId, type UserId } from '../protocol/ids.ts'
import type { MessageStore } from '../stores/message-store.ts'
import { requireThread } from './own-thread.ts'
import { query, type MessagesTable } from './tables.ts'
import type { UnitOfWork, UnitsOfWork } from './unit-of-work.ts'

const viewed = [
  'user_id', 'message_id', 'thread_id', 'run_id', 'role', 'content', 'metadata', 'parent_id', 'created_at'
] as const

type BranchRow = Pick<Selectable<MessagesTable>, typeof viewed[number]> & { readonly sibling_ids: readonly string[] }

/** The messages of a thread as a tree. How it grows is the database's, in `accept_message` and `end_run`. */
export function createMessageStore (units: UnitsOfWork): MessageStore {
  return {
    history: async (threadId, { limit, before }) => await units.asUser(async (unit) => {
      // All at once: they travel behind each other and are answered in one round trip.
      const [,, rows] = await Promise.all([
        requireThread(unit, threadId),
        before === undefined ? undefined : requireMessage(unit, threadId, before),
        unit.lastRows(branch(threadId, before, limit + 1))
      ])
      return { messages: rows.slice(0, limit).reverse().map(toMessageView), hasMore: rows.length > limit }
    }),

    selectBranch: async (threadId, messageId) => await units.asUser(async (unit) => {
      await unit.lastRows(sql`select threadline.select_branch(${threadId}, ${messageId})`)
    })
  }
}

async function requireMessage (unit: UnitOfWork, threadId: ThreadId, messageId: MessageId): Promise<void> {
  const [message] = await unit.rows(query.selectFrom('messages').select('message_id')
    .where('thread_id', '=', threadId).where('user_id', '=', currentIdentity().userId).where('message_id', '=', messageId))
  if (message === undefined) throw new ThreadlineError('THREADLINE_NOT_FOUND', 'There is no such message')
}

/**
 * From a message, or from the head of the visible branch, towards the beginning, at most `limit` messages. Each step is a subquery of its
 * own with a limit, so that it looks one message up by its key whatever the planner knows of the table.
 */
function branch (threadId: ThreadId, before: MessageId | undefined, limit: number) {
  const { userId } = currentIdentity()
  const start = before === undefined
    ? sql`select head_message_id from threadline.threads where thread_id = ${threadId} and user_id = ${userId} and deleted_at is null`
    : sql`select parent_id from threadline.messages where thread_id = ${threadId} and user_id = ${userId} and message_id = ${before}`
  return sql<BranchRow>`
    with recursive branch (message_id, depth) as (
      select (${start}), 1
      union all
      select step.parent_id, branch.depth + 1 from branch cross join lateral (
        select m.parent_id from threadline.messages m
        where m.thread_id = ${threadId} and m.user_id = ${userId} and m.message_id = branch.message_id limit 1
      ) step
      where branch.depth < ${limit} and step.parent_id is not null
    )
    select ${sql.join(viewed.map((column) => sql.ref(`message.${column}`)))}, case
      when message.parent_id is null then array(${siblings(threadId, userId, sql`s.parent_id is null`)})
      else array(${siblings(threadId, userId, sql`s.parent_id = message.parent_id`)})
    end as sibling_ids
    from branch cross join lateral (
      select m.thread_id, m.message_id, m.user_id, m.run_id, m.parent_id, m.role, m.content, m.metadata, m.created_at
      from threadline.messages m
      where m.thread_id = ${threadId} and m.user_id = ${userId} and m.message_id = branch.message_id limit 1
    ) message
    order by branch.depth`
}

function siblings (threadId: ThreadId, userId: UserId, following: RawBuilder<unknown>) {
  return sql`
    select s.message_id::text from threadline.messages s
    where s.thread_id = ${threadId} and s.user_id = ${userId} and ${following} and s.role = message.role order by s.ordinal`
}

function toMessageView (row: BranchRow): MessageView {
  guard({ userId: toUserId(row.user_id) }, 'storage')
  return {
    message_id: row.message_id,
    thread_id: row.thread_id,
    run_id: row.run_id,
    role: row.role,
    content: row.content,
    metadata: row.metadata,
    parent_id: row.parent_id,
    sibling_ids: [...row.sibling_ids],
    created_at: row.created_at
  }
}
