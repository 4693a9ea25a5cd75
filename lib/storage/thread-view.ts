import type { Selectable } from 'kysely'
import { guard } from '../context/guard.ts'
import { ThreadlineError } from '../errors.ts'
import type { ThreadView } from '../protocol/events.ts'
import { toUserId } from '../protocol/ids.ts'
import type { ThreadsTable } from './tables.ts'

/** The columns that a view of a thread is made of. */
export const viewed = [
  'thread_id', 'user_id', 'title', 'metadata', 'created_at', 'updated_at', 'archived_at', 'deleted_at'
] as const

export type ThreadRow = Pick<Selectable<ThreadsTable>, typeof viewed[number]>

/** The row as a client sees it. The last check before it leaves the storage. */
export function toThreadView (row: ThreadRow): ThreadView {
  guard({ userId: toUserId(row.user_id) }, 'storage')
  return {
    thread_id: row.thread_id,
    title: row.title,
    metadata: row.metadata,
    created_at: row.created_at,
    updated_at: row.updated_at,
    archived_at: row.archived_at,
    deleted_at: row.deleted_at
  }
}

/** The one row that a question for one thread finds. Throws `THREADLINE_THREAD_NOT_FOUND` without one. */
export function onlyRow<Row> ([row]: readonly Row[]): Row {
  if (row === undefined) throw new ThreadlineError('THREADLINE_THREAD_NOT_FOUND')
  return row
}
