import type { Selectable } from 'kysely'
import { isConnectionId, toRunId, toThreadId, toUserId, type MessageId, type RequestId } from '../protocol/ids.ts'
import type { RunRecord } from '../stores/run-record.ts'
import type { RunsTable } from './tables.ts'

/** A row as a record. Whose it is must have been checked, or be checked next. */
export function toRunRecord (row: Selectable<RunsTable>): RunRecord {
  return {
    runId: toRunId(row.run_id),
    threadId: toThreadId(row.thread_id),
    userId: toUserId(row.user_id),
    messageId: row.message_id as MessageId, // a uuid column that only message ids are written to
    requestId: row.request_id as RequestId, // likewise, of request ids
    // Somebody else may have written it: a run that names no connection of ours is not trusted, and can be ended all the same.
    connectionId: isConnectionId(row.connection_id) ? row.connection_id : null,
    agent: row.agent,
    input: row.input,
    context: row.context,
    status: row.status,
    attempt: row.attempt,
    givenBack: row.given_back,
    traceparent: row.traceparent,
    createdAt: row.created_at,
    startedAt: row.started_at,
    finishedAt: row.finished_at,
    error: row.error,
    signature: row.signature,
    stopReason: row.stop_reason
  }
}
