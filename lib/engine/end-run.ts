import type { Signer } from '../context/signature.ts'
import { createEmitter } from '../emitter/emitter.ts'
import { isThreadlineError, toPublicError } from '../errors.ts'
import type { EventLog } from '../events/event-log.ts'
import type { PayloadOf } from '../protocol/events.ts'
import { newMessageId } from '../protocol/ids.ts'
import type { RunRecord } from '../stores/run-record.ts'
import type { RunStore } from '../stores/run-store.ts'
import type { ThreadStore } from '../stores/thread-store.ts'
import type { EndedRuns } from './ended-runs.ts'
import { enterRun } from './enter-run.ts'
import { endingOfError, RunStopped, type StopReason } from './run-outcome.ts'

export interface EndingOptions {
  readonly runs: RunStore
  readonly threads: Pick<ThreadStore, 'state'>
  readonly log: EventLog
  readonly endedRuns: EndedRuns
  readonly signer: Signer
}

/**
 * Ends a run that nobody executes: one that waits, or one whose process died or lost it. False when the run has been claimed or has ended
 * meanwhile.
 */
export async function endRun (run: RunRecord, reason: StopReason, options: EndingOptions): Promise<boolean> {
  return await enterRun(run, options.signer, async () => await tellEnd(run, reason, options))
}

/**
 * The same in the identity of the run, which has been entered. Tools that it had announced are told as completed first, as failed, and what
 * it has said is kept.
 */
export async function tellEnd (run: RunRecord, reason: StopReason, options: EndingOptions): Promise<boolean> {
  const { runs, log, endedRuns } = options
  const stopped = new RunStopped(reason)
  try {
    const tools = run.status === 'running' ? await runs.openTools(run.runId) : []
    const openTools = tools.map(({ toolCallId }) => toolCallId)
    const emitter = createEmitter({ log, attempt: run.attempt, agentName: run.agent, openTools })
    for (const { toolCallId, tool } of tools) {
      // When it ended, and whether it did what it was to do, nobody knows.
      const outcome = { success: false, duration_ms: 0, error: toPublicError(stopped) }
      await emitter.emit('tool_completed', { tool_call_id: toolCallId, tool, ...outcome })
    }
    const ending = endingOfError(stopped, AbortSignal.abort(stopped))
    await emitter.emit('agent_completed', { ...ending, ...await saidBy(run, reason, options) })
    endedRuns.tell({ run, status: ending.status })
    return true
  } catch (err) {
    if (isThreadlineError(err, 'THREADLINE_CONFLICT')) return false
    throw err
  }
}

/** What the run's deltas say. Nobody else knows any more. */
async function saidBy (run: RunRecord, reason: StopReason, { threads }: EndingOptions): Promise<Pick<PayloadOf<'agent_completed'>, 'message_id' | 'content'>> {
  if (run.status !== 'running' || reason === 'rolled_back') return {}
  const { activeRuns } = await threads.state(run.threadId)
  const content = activeRuns.find((active) => active.run_id === run.runId)?.text ?? ''
  return content === '' ? {} : { message_id: newMessageId(), content }
}
