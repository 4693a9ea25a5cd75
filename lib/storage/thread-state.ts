import { sql } from 'kysely'
import { currentIdentity } from '../context/current-thread.ts'
import type { ActiveRun, NewThreadEvent } from '../protocol/events.ts'
import type { ThreadId, UserId } from '../protocol/ids.ts'
import type { ThreadState } from '../stores/thread-store.ts'
import { onlyRow, toThreadView, viewed, type ThreadRow } from './thread-view.ts'
import type { UnitOfWork } from './unit-of-work.ts'

/** Of the events that a run's text is read from. What a run has said beyond it is in its message, once it has ended. */
const maxDeltaBytes = 4 * 1024 * 1024

interface UnfinishedRun extends Omit<ActiveRun, 'text'> {
  readonly deltas: ReadonlyArray<NewThreadEvent<'agent_delta'>>
}

interface StateRow extends ThreadRow {
  readonly last_sequence: number
  readonly kept_after: number
  readonly runs: readonly UnfinishedRun[]
}

/** Where a thread of the active user stands. One statement, so one moment. Throws `THREADLINE_THREAD_NOT_FOUND`. */
export async function readThreadState (unit: UnitOfWork, threadId: ThreadId): Promise<ThreadState> {
  const row = onlyRow(await unit.lastRows(stateOf(threadId)))
  return { thread: toThreadView(row), sequence: row.last_sequence, keptAfter: row.kept_after, activeRuns: activeRunsOf(row) }
}

/** The unfinished runs of the thread alone, in the middle of a unit. Throws what `readThreadState` throws. */
export async function readActiveRuns (unit: UnitOfWork, threadId: ThreadId): Promise<readonly ActiveRun[]> {
  return activeRunsOf(onlyRow(await unit.rows(stateOf(threadId))))
}

function activeRunsOf ({ runs }: StateRow): readonly ActiveRun[] {
  return runs.map(({ deltas, ...run }) => ({ ...run, text: deltas.map(({ payload }) => payload.text).join('') }))
}

// The events come as they are, and their text is taken out of them here: the database cannot read every text that it keeps (`\u0000`).
function stateOf (threadId: ThreadId) {
  const { userId } = currentIdentity()
  const columns = sql.join(viewed.map((name) => sql.ref(`t.${name}`)))
  const deltas = sql`
    select coalesce(json_agg(d.body order by d.sequence), '[]') from (
      select e.sequence, e.body, sum(octet_length(e.body::text)) over (order by e.sequence) as bytes
      from threadline.run_events e
      where e.thread_id = t.thread_id and e.user_id = ${userId} and e.run_id = r.run_id and e.type = 'agent_delta'
        and e.sequence <= t.last_sequence and e.sequence > ${textBegins(userId)}
    ) d where d.bytes <= ${sql.lit(maxDeltaBytes)}`
  const runs = sql`
    select coalesce(json_agg(json_build_object(
      'run_id', r.run_id, 'message_id', r.message_id, 'agent', r.agent, 'status', r.status, 'deltas', (${deltas})
    ) order by r.ordinal), '[]')
    from threadline.runs r
    where r.thread_id = t.thread_id and r.user_id = ${userId} and r.status in ('queued', 'running')`
  return sql<StateRow>`
    select ${columns}, t.last_sequence, t.kept_after, (${runs}) as runs
    from threadline.threads t
    where t.thread_id = ${threadId} and t.user_id = ${userId} and t.deleted_at is null`
}

// What the run of the row has told counts from its start, or from where it was last gone on with: what it told before that is void. Only a later
// attempt can have been gone on with, and only then its events are looked through.
function textBegins (userId: UserId) {
  const started = sql`(
    select s.sequence from threadline.run_events s
    where s.run_id = r.run_id and s.user_id = ${userId} and s.type = 'agent_started' order by s.sequence limit 1
  )`
  return sql`coalesce(case when r.attempt > 1 then (
    select a.sequence from threadline.run_events a
    where a.thread_id = r.thread_id and a.user_id = ${userId} and a.run_id = r.run_id and a.type = 'agent_resumed' and a.sequence > ${started}
    order by a.sequence desc limit 1
  ) end, ${started})`
}
