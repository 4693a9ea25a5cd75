import { sql } from 'kysely'
import { currentIdentity } from '../context/current-thread.ts'
import { guard } from '../context/guard.ts'
import { ThreadlineError, toPublicError } from '../errors.ts'
import type { ActiveRun, NewThreadEvent, PayloadOf, RunEventType } from '../protocol/events.ts'
import { newEventId, newMessageId, type ThreadId } from '../protocol/ids.ts'
import type { AppendedEvent } from '../stores/event-store.ts'
import type { RunRecord } from '../stores/run-record.ts'
import { appending } from './event-store.ts'
import { updateOwnThread } from './own-thread.ts'
import { toOpenTools, toolEventsOf } from './run-events.ts'
import { toRunRecord } from './run-record.ts'
import { query } from './tables.ts'
import { readActiveRuns } from './thread-state.ts'
import type { UnitOfWork } from './unit-of-work.ts'

/**
 * Hides a thread of the active user. Runs that are unfinished end with it: nobody can follow them any more, and a start must not find them
 * so. Each end is stored in the log as well, with what the run has said, so that a thread that is restored tells the end of every run. All of
 * it happens under the lock of the thread's row. Throws `THREADLINE_THREAD_NOT_FOUND`.
 */
export async function removeThread (unit: UnitOfWork, threadId: ThreadId): Promise<void> {
  const [, rows] = await Promise.all([
    unit.rows(sql`select 1 from threadline.lock_thread(${threadId})`),
    unit.rows(unfinishedRuns(threadId))
  ])
  if (rows.length > 0) await endRuns(unit, threadId, rows.map(toRunRecord))
  await unit.lastRows(updateOwnThread(threadId).set({ deleted_at: sql<string>`now()` }))
}

async function endRuns (unit: UnitOfWork, threadId: ThreadId, runs: readonly RunRecord[]): Promise<void> {
  const said = await readActiveRuns(unit, threadId)
  const ends: AppendedEvent[] = []
  for (const run of runs) {
    guard({ userId: run.userId }, 'storage')
    ends.push(...await endOf(unit, run, said))
  }
  const appended = await unit.rows(appending(ends))
  if (appended.some(({ refused }) => refused !== null)) throw new Error('The end of a run was refused under the lock of its thread')
}

/** Its open tools are told as failed first. */
async function endOf (unit: UnitOfWork, run: RunRecord, said: readonly ActiveRun[]): Promise<readonly AppendedEvent[]> {
  const error = toPublicError(new ThreadlineError('THREADLINE_CANCELLED'))
  const tools = run.status === 'running' ? toOpenTools(await unit.rows(toolEventsOf(run.runId))) : []
  const content = said.find(({ run_id: runId }) => runId === run.runId)?.text ?? ''
  return [
    ...tools.map(({ toolCallId, tool }) => eventOf(run, 'tool_completed', { tool_call_id: toolCallId, tool, success: false, duration_ms: 0, error })),
    eventOf(run, 'agent_completed', {
      status: 'cancelled', reason: 'cancelled', error, ...(content === '' ? {} : { message_id: newMessageId(), content })
    })
  ]
}

function eventOf<Type extends RunEventType> (run: RunRecord, type: Type, payload: PayloadOf<Type>): AppendedEvent {
  const event: NewThreadEvent<Type> = {
    type,
    event_id: newEventId(),
    timestamp: new Date().toISOString(),
    user_id: run.userId,
    thread_id: run.threadId,
    run_id: run.runId,
    request_id: run.requestId,
    agent_name: run.agent,
    payload,
    ...(run.traceparent === null ? {} : { traceparent: run.traceparent })
  }
  return { event, attempt: run.attempt }
}

function unfinishedRuns (threadId: ThreadId) {
  return query.selectFrom('runs').selectAll()
    .where('thread_id', '=', threadId).where('user_id', '=', currentIdentity().userId)
    .where('status', 'in', ['queued', 'running']).orderBy('ordinal')
}
