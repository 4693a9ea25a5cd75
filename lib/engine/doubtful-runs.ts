import { setTimeout as delay } from 'node:timers/promises'
import { context, ROOT_CONTEXT } from '@opentelemetry/api'
import { isThreadlineError } from '../errors.ts'
import type { LeasedRun } from '../stores/queue-store.ts'
import { endRun } from './end-run.ts'
import type { LoopOptions } from './thread-loops.ts'
import type { ThreadSession } from './thread-sessions.ts'

const retryMs = 1_000

/**
 * Gives back what the database says is running in the thread, by this process, although nobody executes it: a run whose claim was committed and
 * never answered, or which could not go on when the storage was away. Without that the thread would wait for the end of its lease. Where there are no other processes, every run that nobody here executes is nobody's.
 */
export async function giveBackUnknown (session: ThreadSession, options: LoopOptions): Promise<void> {
  const { runs, queue, logger, closing } = options
  try {
    const running = (await runs.unfinished(session.threadId)).filter(({ status }) => status === 'running')
    for (const run of await ownOf(running, options)) await queue.release(run, { inVain: true })
    session.doubtful = false
    session.requested = true
  } catch (err) {
    logger.error({ err }, 'an abandoned run could not be given back yet')
    await pause(closing)
  }
}

/** Those of which this process has the lease. */
async function ownOf (running: readonly LeasedRun[], { queue, lease, hasPeers }: LoopOptions): Promise<readonly LeasedRun[]> {
  if (!hasPeers || running.length === 0) return running
  return await context.with(ROOT_CONTEXT, () => queue.renew(lease, running))
}

/** Ends the run that was executed here and whose end could not be stored: as it was stopped, or as one that nobody else should try. */
export async function endUnended (session: ThreadSession, options: LoopOptions): Promise<void> {
  const { logger, closing } = options
  const { unended } = session
  if (unended === undefined) return
  try {
    await endRun(unended.run, unended.reason, options)
    session.unended = undefined
    session.requested = true
  } catch (err) {
    logger.error({ err, run_id: unended.run.runId }, 'an abandoned run could not be ended yet')
    // Anything else would come again, and hold up the thread; whoever takes the run over when its lease is over may fare better.
    if (!isThreadlineError(err, 'THREADLINE_STORAGE_UNAVAILABLE')) session.unended = undefined
    await pause(closing)
  }
}

/** Closing ends it. */
export async function pause (signal: AbortSignal): Promise<void> {
  await delay(retryMs, undefined, { signal }).catch(() => undefined)
}
