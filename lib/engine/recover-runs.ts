import { enterThread } from '../context/current-thread.ts'
import { createIdentity } from '../context/identity.ts'
import { launchThread, type LoopOptions } from './thread-loops.ts'

/**
 * Goes on with what the last process has left, where no other process than this one can: what was running is nobody's, whatever its lease
 * says. Each thread is gone into in the name of its owner, and has its own loop.
 */
export async function recoverRuns (options: LoopOptions): Promise<void> {
  const { runs, logger } = options
  for (const { runId, userId, threadId, status } of await runs.recoverable()) {
    try {
      enterThread(createIdentity({ userId, threadId }), () => { launchThread(options, { doubtful: status === 'running' }) })
    } catch (err) {
      logger.error({ err, run_id: runId }, 'a run of the last process could not be gone on with')
    }
  }
}
