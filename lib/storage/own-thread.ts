import { currentIdentity } from '../context/current-thread.ts'
import type { ThreadId } from '../protocol/ids.ts'
import { query } from './tables.ts'
import { onlyRow } from './thread-view.ts'
import type { UnitOfWork } from './unit-of-work.ts'

/** The thread of the active user, deleted or not. */
export function anyOwnThread (threadId: ThreadId) {
  return query.selectFrom('threads').where('thread_id', '=', threadId).where('user_id', '=', currentIdentity().userId)
}

/** The thread of the active user, if it is not deleted. */
export function ownThread (threadId: ThreadId) {
  return anyOwnThread(threadId).where('deleted_at', 'is', null)
}

/** A change of the active user's thread, deleted or not. */
export function updateAnyOwnThread (threadId: ThreadId) {
  return query.updateTable('threads').where('thread_id', '=', threadId).where('user_id', '=', currentIdentity().userId)
}

/** A change of the active user's thread, if it is not deleted. */
export function updateOwnThread (threadId: ThreadId) {
  return updateAnyOwnThread(threadId).where('deleted_at', 'is', null)
}

/** Throws `THREADLINE_THREAD_NOT_FOUND` when the active user has no such thread. */
export async function requireThread (unit: UnitOfWork, threadId: ThreadId): Promise<void> {
  onlyRow(await unit.rows(ownThread(threadId).select('user_id')))
}
