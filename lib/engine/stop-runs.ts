import { currentThread } from '../context/current-thread.ts'
import { ThreadlineError } from '../errors.ts'
import type { RunId } from '../protocol/ids.ts'
import type { RunRecord, RunStore } from '../storage/storage.ts'
import { endRun, type EndingOptions } from './end-run.ts'
import { RunStopped, type StopReason } from './run-outcome.ts'
import type { RunRegistry } from './run-registry.ts'
import { enterSession, type ThreadSessions } from './thread-sessions.ts'

/** Which runs of the active thread: one, those that stand before `before`, or all. */
export interface StopRequest {
  readonly runId?: RunId | undefined
  readonly before?: RunId
  readonly reason: StopReason
}

export interface StopOptions extends EndingOptions {
  readonly registry: RunRegistry
  readonly sessions: ThreadSessions
}

/**
 * Stops runs of the active thread: a waiting one is ended here, the running one by the loop that executes it. The newest are stopped first, so
 * that none begins that is about to be stopped. Resolves with those that were stopped now, the oldest first.
 */
export async function stopRuns ({ runId, before, reason }: StopRequest, options: StopOptions): Promise<readonly RunId[]> {
  const { runs } = options
  const unfinished = await runs.unfinished(currentThread().threadId)
  if (runId !== undefined) await requireInThread(runs, runId)
  // Before a run that has ended nothing stands any more: what is unfinished is newer.
  const standing = before === undefined ? unfinished : unfinished.slice(0, Math.max(0, unfinished.findIndex((run) => run.runId === before)))
  const wanted = standing.filter((run) => runId === undefined || run.runId === runId)
  const stopped: RunId[] = []
  for (const run of wanted.toReversed()) if (await stopOne(run, reason, options)) stopped.unshift(run.runId)
  return stopped
}

/**
 * Stops all runs of the active user that this process has launched, those that come meanwhile too, and resolves when their threads' loops
 * have ended. Aborting the signal ends that: what comes later is left alone.
 */
export async function stopRunsOfUser (signal: AbortSignal, options: StopOptions): Promise<void> {
  const { sessions } = options
  for (let own = sessions.findAll(); own.length > 0 && !signal.aborted; own = sessions.findAll()) {
    await Promise.all(own.map((session) => enterSession(session, async () => {
      await stopRuns({ reason: 'cancelled' }, options)
      await session.loop
    })))
  }
}

async function stopOne (run: RunRecord, reason: StopReason, options: StopOptions): Promise<boolean> {
  const { runs, registry, sessions } = options
  if (run.status === 'queued' && await endRun(run, reason, options)) return true
  if (sessions.find()?.loop === undefined) return false
  const controller = registry.controllerOf(run.runId)
  // The loop does not know it: either its claim is still under way, or it has ended meanwhile.
  if (controller === undefined && (await runs.require(run.runId)).status !== 'running') return false
  registry.register(run.runId).abort(new RunStopped(reason))
  return true
}

async function requireInThread (runs: RunStore, runId: RunId): Promise<void> {
  const run = await runs.require(runId)
  if (run.threadId !== currentThread().threadId) throw new ThreadlineError('THREADLINE_RUN_NOT_FOUND')
}
