import { sql, type Selectable } from 'kysely'
import { currentIdentity } from '../context/current-thread.ts'
import { guard } from '../context/guard.ts'
import type { NewThreadEvent } from '../protocol/events.ts'
import { toUserId, type RunId } from '../protocol/ids.ts'
import type { OpenTool } from '../stores/run-store.ts'
import { query, type RunEventsTable } from './tables.ts'

type ToolEventRow = Pick<Selectable<RunEventsTable>, 'user_id' | 'body'>

/** The first event of a run of the active user: its start, or its end when it never started. The condition is that of an index. */
export function firstEventOf (runId: RunId) {
  return query.selectFrom('run_events').select('sequence')
    .where('run_id', '=', runId).where('user_id', '=', currentIdentity().userId)
    .where('type', 'in', [sql.lit('agent_started'), sql.lit('agent_completed')])
    .orderBy('sequence').limit(1)
}

/** What a run of the active user has told of its tools, in order. Found by the thread and the first event: there is no index over all. */
export function toolEventsOf (runId: RunId) {
  const { userId } = currentIdentity()
  return query.selectFrom('run_events').select(['user_id', 'body'])
    .where('thread_id', '=', query.selectFrom('runs').select('thread_id').where('run_id', '=', runId).where('user_id', '=', userId))
    .where('sequence', '>', firstEventOf(runId))
    .where('run_id', '=', runId).where('user_id', '=', userId).where('type', 'in', ['tool_executing', 'tool_completed'])
    .orderBy('sequence')
}

/** The calls that were announced and have not completed, in order. */
export function toOpenTools (rows: readonly ToolEventRow[]): readonly OpenTool[] {
  const open = new Map<string, OpenTool>()
  for (const row of rows) {
    guard({ userId: toUserId(row.user_id) }, 'storage')
    const { type, payload } = row.body as unknown as NewThreadEvent<'tool_executing' | 'tool_completed'> // the query asks for these only
    if (type === 'tool_executing') open.set(payload.tool_call_id, { toolCallId: payload.tool_call_id, tool: payload.tool })
    else open.delete(payload.tool_call_id)
  }
  return [...open.values()]
}
