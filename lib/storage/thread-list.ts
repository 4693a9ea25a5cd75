import { sql } from 'kysely'
import { Type, type Static } from 'typebox'
import { currentIdentity } from '../context/current-thread.ts'
import type { ListedState } from '../protocol/commands.ts'
import { uuidPattern } from '../protocol/ids.ts'
import type { ThreadPage } from '../stores/thread-store.ts'
import { fromCursor, toCursor } from './page-cursor.ts'
import { query } from './tables.ts'
import { toThreadView, viewed } from './thread-view.ts'
import type { UnitOfWork } from './unit-of-work.ts'

// The time in microseconds, as exact as the database has it: a view has milliseconds, within which threads would be lost or doubled.
const lastListed = {
  name: 'threads 1',
  position: Type.Tuple([Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }), Type.String({ pattern: uuidPattern })])
}

const microseconds = sql<number>`(extract(epoch from updated_at) * 1000000)::bigint`

export interface ListedPage {
  readonly limit: number
  readonly offset?: number
  readonly cursor?: string | undefined
  readonly state?: ListedState
}

/**
 * The threads of the active user in a state, the one that was last written to first. A page begins behind the last thread of the one
 * before, so none is lost or doubled, but for those that are written to in between.
 */
export async function listThreads (unit: UnitOfWork, { limit, offset = 0, cursor, state = 'active' }: ListedPage): Promise<ThreadPage> {
  let page = threadsIn(state).select([...viewed, microseconds.as('microseconds')])
    .orderBy('updated_at', 'desc').orderBy('thread_id', 'desc').limit(limit + 1).offset(offset)
  if (cursor !== undefined) page = page.where(isBehind(fromCursor(lastListed, cursor)))

  const [rows, [counted]] = await Promise.all([
    unit.rows(page),
    unit.lastRows(threadsIn(state).select(({ fn }) => fn.countAll<number>().as('total')))
  ])

  const shown = rows.slice(0, limit)
  const last = rows.length > limit ? shown.at(-1) : undefined
  return {
    threads: shown.map(toThreadView),
    total: counted?.total ?? 0,
    nextCursor: last === undefined ? null : toCursor(lastListed, [last.microseconds, last.thread_id])
  }
}

function isBehind ([time, threadId]: Static<typeof lastListed.position>) {
  return sql<boolean>`(updated_at, thread_id) < (timestamptz 'epoch' + ${time} * interval '1 microsecond', ${threadId})`
}

// The generated columns are what the indexes have, each of which keeps the threads of a user in this order.
function threadsIn (state: ListedState) {
  const threads = query.selectFrom('threads').where('user_id', '=', currentIdentity().userId)
  if (state === 'deleted') return threads.where('deleted', '=', true)
  return threads.where('listed', '=', true).where('archived', '=', state === 'archived')
}
