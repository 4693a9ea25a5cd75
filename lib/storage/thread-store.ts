import { sql, type Selectable } from 'kysely'
import { guard } from '../context/guard.ts'
import { currentIdentity } from '../context/current-thread.ts'
import { ThreadlineError } from '../errors.ts'
import type { ThreadView } from '../protocol/events.ts'
import { toUserId, type ThreadId } from '../protocol/ids.ts'
import { storableText } from './storable-text.ts'
import type { ThreadStore } from './storage.ts'
import { query, type ThreadsTable } from './tables.ts'
import type { UnitOfWork, UnitsOfWork } from './unit-of-work.ts'

export const viewed = [
  'thread_id', 'user_id', 'title', 'metadata', 'created_at', 'updated_at', 'archived_at', 'deleted_at'
] as const

export type ThreadRow = Pick<Selectable<ThreadsTable>, typeof viewed[number]>

/** The threads of the active user that are not deleted. */
export function createThreadStore (units: UnitsOfWork): ThreadStore {
  return {
    create: async (threadId, title) => await units.asUser(async (unit) => {
      const values = { thread_id: threadId, user_id: currentIdentity().userId, title: storableText(title ?? null, 'title') }
      return viewOf(await unit.lastRows(query.insertInto('threads').values(values).returning(viewed)))
    }),

    require: async (threadId) => await units.asUser(async (unit) => {
      return viewOf(await unit.lastRows(ownThread(threadId).select(viewed)))
    }),

    rename: async (threadId, title) => await units.asUser(async (unit) => {
      const changes = { title: storableText(title, 'title'), updated_at: sql<string>`now()` }
      return viewOf(await unit.lastRows(updateOwnThread(threadId).set(changes).returning(viewed)))
    }),

    remove: async (threadId) => { await units.asUser(async (unit) => { await remove(unit, threadId) }) },

    list: async ({ limit, offset }) => await units.asUser(async (unit) => {
      const rows = await unit.rows(listedThreads()
        .select([...viewed, sql<number>`count(*) over ()`.as('total')])
        .orderBy('updated_at', 'desc').orderBy('thread_id', 'desc')
        .limit(limit).offset(offset))
      return { threads: rows.map(toThreadView), total: rows[0]?.total ?? await countThreads(unit) }
    }),

    lastSequence: async (threadId) => await units.asUser(async (unit) => {
      const [row] = await unit.lastRows(ownThread(threadId).select(['user_id', 'last_sequence']))
      if (row === undefined) throw new ThreadlineError('THREADLINE_THREAD_NOT_FOUND')
      guard({ userId: toUserId(row.user_id) }, 'storage')
      return row.last_sequence
    })
  }
}

/** Throws `THREADLINE_THREAD_NOT_FOUND` when the active user has no such thread. */
export async function requireThread (unit: UnitOfWork, threadId: ThreadId): Promise<void> {
  const [row] = await unit.rows(ownThread(threadId).select('user_id'))
  if (row === undefined) throw new ThreadlineError('THREADLINE_THREAD_NOT_FOUND')
}

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

// Its runs end with it: nobody can follow them any more, and a start must not find them unfinished.
async function remove (unit: UnitOfWork, threadId: ThreadId): Promise<void> {
  const removed = await unit.rows(updateOwnThread(threadId).set({ deleted_at: sql<string>`now()` }).returning('thread_id'))
  if (removed.length === 0) throw new ThreadlineError('THREADLINE_THREAD_NOT_FOUND')
  await unit.lastRows(query.updateTable('runs')
    .set({ status: 'cancelled', finished_at: sql<string>`now()`, error: 'THREADLINE_THREAD_NOT_FOUND' })
    .where('thread_id', '=', threadId).where('user_id', '=', currentIdentity().userId)
    .where('status', 'in', ['queued', 'running']))
}

async function countThreads (unit: UnitOfWork): Promise<number> {
  const [row] = await unit.rows(listedThreads().select(({ fn }) => fn.countAll<number>().as('total')))
  return row?.total ?? 0
}

function viewOf (rows: readonly ThreadRow[]): ThreadView {
  const [row] = rows
  if (row === undefined) throw new ThreadlineError('THREADLINE_THREAD_NOT_FOUND')
  return toThreadView(row)
}

// `listed` is the condition of the index that has them in their order.
function listedThreads () {
  return query.selectFrom('threads').where('user_id', '=', currentIdentity().userId).where('listed', '=', true)
}

function ownThread (threadId: ThreadId) {
  return query.selectFrom('threads')
    .where('thread_id', '=', threadId).where('user_id', '=', currentIdentity().userId).where('deleted_at', 'is', null)
}

function updateOwnThread (threadId: ThreadId) {
  return query.updateTable('threads')
    .where('thread_id', '=', threadId).where('user_id', '=', currentIdentity().userId).where('deleted_at', 'is', null)
}
