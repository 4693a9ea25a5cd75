import { attributes } from '../context/attributes.ts'
import { createCounter, createHistogram } from '../context/instruments.ts'
import { metricDefinitions } from '../context/metric-definitions.ts'
import type { RunRecord } from '../stores/run-record.ts'
import type { EndedRun } from './ended-runs.ts'

const startedRuns = createCounter(metricDefinitions.startedRuns)
const endedRuns = createCounter(metricDefinitions.endedRuns)
const queueDelay = createHistogram(metricDefinitions.queueDelay)
const runDuration = createHistogram(metricDefinitions.runDuration)
const agentDuration = createHistogram(metricDefinitions.agentDuration)

/**
 * A run has its slot. How long it was queued is told by the database's clock, how long it has waited for the slot by this process's: two
 * clocks are never compared. `claimedAt` is what `performance.now()` said when it was taken from the queue.
 */
export function measureStart ({ agent, createdAt, startedAt }: RunRecord, claimedAt: number): void {
  startedRuns.add(1, { agent })
  if (startedAt === null) return
  const queuedMs = Date.parse(startedAt) - Date.parse(createdAt)
  queueDelay.record((queuedMs + performance.now() - claimedAt) / 1_000)
}

/** A run's end is stored. One that was never executed has no duration. */
export function measureEnd ({ run: { agent }, status, durationMs }: EndedRun): void {
  endedRuns.add(1, { agent, status })
  if (durationMs !== undefined) runDuration.record(durationMs / 1_000, { agent, status })
}

/** As the span `invoke_agent`; `error` is the code of one that did not complete. */
export function measureAgent (agent: string, durationMs: number, error: string | undefined): void {
  agentDuration.record(durationMs / 1_000, { [attributes.agentName]: agent, ...(error === undefined ? {} : { [attributes.errorType]: error }) })
}
