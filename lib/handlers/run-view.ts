import type { RunView } from '../protocol/events.ts'
import type { RunRecord } from '../stores/run-record.ts'

/** A run as its user sees it. */
export function toRunView (run: RunRecord): RunView {
  return {
    run_id: run.runId,
    thread_id: run.threadId,
    message_id: run.messageId,
    agent: run.agent,
    status: run.status,
    created_at: run.createdAt,
    started_at: run.startedAt,
    finished_at: run.finishedAt,
    error: run.error
  }
}
