import { isThreadlineError } from '../errors.ts'
import { endRun } from './end-run.ts'
import { enterRun } from './enter-run.ts'
import { launchThread, type LoopOptions } from './thread-loops.ts'

/** Ends what was running when the last process died, and starts what waited. A run that cannot be ended now is ended by its thread's loop. */
export async function recoverRuns (options: LoopOptions): Promise<void> {
  const { runs, logger } = options
  for (const run of await runs.recoverable()) {
    try {
      if (run.status === 'queued') enterRun(run, () => { launchThread(options) })
      else await endRun(run, 'server_restarted', options)
    } catch (err) {
      logger.error({ err, run_id: run.runId }, 'a run of the last process could not be ended')
      if (isThreadlineError(err, 'THREADLINE_STORAGE_UNAVAILABLE')) enterRun(run, () => { launchThread(options, { doubtful: true }) })
    }
  }
}
