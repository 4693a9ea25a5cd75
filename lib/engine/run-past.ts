import { patientDelaysMs, whileUnavailable } from '../emitter/while-unavailable.ts'
import type { QueueStore } from '../stores/queue-store.ts'
import type { RunRecord } from '../stores/run-record.ts'
import type { RunStep } from '../stores/run-step.ts'
import type { OpenTool, RunStore } from '../stores/run-store.ts'

/** What earlier attempts of a run have left behind. */
export interface RunPast {
  /** Whether the log has its start. */
  readonly begun: boolean
  /** Tool calls that were announced and have not completed. */
  readonly openTools: readonly OpenTool[]
  readonly steps: readonly RunStep[]
}

export interface PastOptions {
  readonly runs: RunStore
  readonly queue: Pick<QueueStore, 'steps'>
}

const none: RunPast = { begun: false, openTools: [], steps: [] }

/** Read in the identity of the claimed run: from its claim on, no earlier attempt can add to it. Tried for as long as the end of a run is. */
export async function readPast (run: RunRecord, { runs, queue }: PastOptions): Promise<RunPast> {
  if (run.attempt <= 1) return none
  return await whileUnavailable(async () => {
    if (await runs.firstSequence(run.runId) === undefined) return none
    const [openTools, steps] = await Promise.all([runs.openTools(run.runId), queue.steps(run.runId)])
    return { begun: true, openTools, steps }
  }, patientDelaysMs)
}
