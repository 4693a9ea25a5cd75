import { sql, type RawBuilder } from 'kysely'
import { Type } from 'typebox'
import { currentIdentity } from '../context/current-thread.ts'
import type { SearchResult } from '../protocol/events.ts'
import { fromCursor, toCursor } from './page-cursor.ts'
import { parseSearchQuery, type SearchQuery } from './search-query.ts'
import { snippetOf } from './snippet.ts'
import { storableText } from './storable-text.ts'
import { toThreadView, viewed, type ThreadRow } from './thread-view.ts'
import type { UnitOfWork } from './unit-of-work.ts'

/** Whoever has read so many results asks something else. */
const maxResults = 1_000

const nextResult = { name: 'search 1', position: Type.Integer({ minimum: 1, maximum: maxResults }) }

export interface SearchPage {
  readonly results: readonly SearchResult[]
  readonly nextCursor: string | null
}

interface FoundRow extends ThreadRow {
  readonly message_id: string | null
  readonly role: 'user' | 'assistant'
  readonly message_created_at: string
  readonly content: string
}

/** A page of what the query finds among the threads of the active user, archived ones included; at most 1,000 results in all. */
export async function searchThreads (
  unit: UnitOfWork, text: string, { limit, cursor }: { readonly limit: number, readonly cursor?: string | undefined }
): Promise<SearchPage> {
  const offset = cursor === undefined ? 0 : fromCursor(nextResult, cursor)
  const query = parseSearchQuery(storableText(text, 'query'))
  if (query === undefined) return { results: [], nextCursor: null }

  const shown = Math.min(limit, maxResults - offset)
  const rows = await unit.lastRows(find(query, offset, shown + 1))
  const next = offset + shown
  return {
    results: rows.slice(0, shown).map((row) => toResult(row, query)),
    nextCursor: rows.length > shown && next < maxResults ? toCursor(nextResult, next) : null
  }
}

/**
 * The best message of each thread is looked for in a subquery with a limit, so that the messages are read by the key of their thread,
 * whatever the planner knows of the table. Those of the page are then read once more, for their text.
 */
function find ({ websearch, open }: SearchQuery, offset: number, limit: number): RawBuilder<FoundRow> {
  const { userId } = currentIdentity()
  const wanted = sql`threadline.search_query(${websearch}, ${open})`
  return sql<FoundRow>`
    with found as (
      select ${sql.join(viewed.map((name) => sql.ref(`t.${name}`)))}, best.message_id,
        case when t.search @@ ${wanted} then ts_rank(t.search, ${wanted}) else 0 end + coalesce(best.rank, 0) as rank
      from threadline.threads t
      left join lateral (
        select m.message_id, ts_rank(m.search, ${wanted}, 1) as rank
        from threadline.messages m
        where m.thread_id = t.thread_id and m.user_id = ${userId} and m.search @@ ${wanted}
        order by rank desc, m.ordinal desc limit 1
      ) best on true
      where t.user_id = ${userId} and t.listed and (best.message_id is not null or t.search @@ ${wanted})
      order by rank desc, t.updated_at desc, t.thread_id desc
      limit ${limit} offset ${offset}
    )
    select found.*, m.role, m.created_at as message_created_at, left(coalesce(m.content, found.title), 32000) as content
    from found
    left join threadline.messages m
      on m.thread_id = found.thread_id and m.message_id = found.message_id and m.user_id = ${userId}
    order by found.rank desc, found.updated_at desc, found.thread_id desc`
}

function toResult (row: FoundRow, { terms }: SearchQuery): SearchResult {
  return {
    thread: toThreadView(row),
    message: row.message_id === null
      ? null
      : { message_id: row.message_id, role: row.role, created_at: row.message_created_at },
    snippet: snippetOf(row.content, terms)
  }
}
