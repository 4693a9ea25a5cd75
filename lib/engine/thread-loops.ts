import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from '../context/logger.ts'
import { isThreadlineError } from '../errors.ts'
import type { RunRecord } from '../storage/storage.ts'
import { endRun, type EndingOptions } from './end-run.ts'
import { enterRun } from './enter-run.ts'
import { executeRun, type ExecutionOptions } from './execute-run.ts'
import { RunStopped } from './run-outcome.ts'
import type { RunRegistry } from './run-registry.ts'
import { enterSession, type ThreadSession, type ThreadSessions } from './thread-sessions.ts'

export interface LoopOptions extends ExecutionOptions, EndingOptions {
  readonly registry: RunRegistry
  readonly sessions: ThreadSessions
  readonly logger: Logger
  /** Aborted when nothing more is to be started. */
  readonly closing: AbortSignal
}

const claimRetryMs = 1_000

/** Longer than a run may take: nobody renews it yet. */
const lease = { worker: 'this process', leaseMs: 24 * 60 * 60 * 1_000 }

/**
 * Says that there is work in the active thread: its loop, of which there is one, takes its runs from the queue one after the other and
 * ends when there are none. `doubtful` says that the database may hold a running run that nobody executes; it is ended first.
 */
export function launchThread (options: LoopOptions, { doubtful = false } = {}): void {
  const { sessions, closing } = options
  if (closing.aborted) return
  const session = sessions.obtain()
  session.requested = true
  session.doubtful ||= doubtful
  session.loop ??= enterSession(session, () => loop(session, options))
}

async function loop (session: ThreadSession, options: LoopOptions): Promise<void> {
  const { sessions, registry, closing } = options
  while ((session.requested || session.doubtful) && !closing.aborted) {
    session.requested = false
    if (session.doubtful) await endAbandoned(session, options)
    for (let run = await claim(session, options); run !== undefined; run = await claim(session, options)) await execute(run, session, options)
  }
  // Those that were to be stopped and never came.
  for (const runId of registry.runsOf(session.threadId)) registry.unregister(runId)
  session.loop = undefined
  sessions.release()
}

async function claim (session: ThreadSession, { runs, logger, closing }: LoopOptions): Promise<RunRecord | undefined> {
  if (closing.aborted) return undefined
  try {
    return await runs.claimNext(session.threadId, lease)
  } catch (err) {
    if (isThreadlineError(err, 'THREADLINE_THREAD_NOT_FOUND')) return undefined
    logger.error({ err }, 'the next run could not be taken from the queue')
    session.doubtful = true
    await pause(closing)
    return undefined
  }
}

async function execute (run: RunRecord, session: ThreadSession, options: LoopOptions): Promise<void> {
  const { registry, endedRuns, logger, closing } = options
  try {
    await enterRun(run, async () => {
      const controller = registry.register(run.runId)
      if (closing.aborted) controller.abort(new RunStopped('server_stopped'))
      const ended = await executeRun(run, controller, options)
      if (ended !== undefined) endedRuns.tell(ended)
    })
  } catch (err) {
    logger.error({ err, run_id: run.runId }, 'the end of a run could not be told')
    session.doubtful = true
  } finally {
    registry.unregister(run.runId)
  }
}

/**
 * Ends what the database says is running in the thread although nobody executes it: a run whose claim was committed and never answered,
 * or whose end could not be stored. Without that the thread would wait for it for ever.
 */
async function endAbandoned (session: ThreadSession, options: LoopOptions): Promise<void> {
  const { runs, logger, closing } = options
  try {
    const unfinished = await runs.unfinished(session.threadId)
    for (const run of unfinished) if (run.status === 'running') await endRun(run, 'storage_failed', options)
    session.doubtful = false
    session.requested = true
  } catch (err) {
    logger.error({ err }, 'an abandoned run could not be ended yet')
    await pause(closing)
  }
}

/** Closing ends it. */
async function pause (signal: AbortSignal): Promise<void> {
  await delay(claimRetryMs, undefined, { signal }).catch(() => undefined)
}
