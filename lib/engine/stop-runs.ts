import { currentIdentity, currentThread, enterThread } from '../context/current-thread.ts'
import { createIdentity } from '../context/identity.ts'
import type { Logger } from '../context/logger.ts'
import { ThreadlineError } from '../errors.ts'
import type { EventBus } from '../events/event-bus.ts'
import type { RunId, ThreadId } from '../protocol/ids.ts'
import type { QueueStore } from '../stores/queue-store.ts'
import type { RunRecord } from '../stores/run-record.ts'
import type { RunStore } from '../stores/run-store.ts'
import { endRun, type EndingOptions } from './end-run.ts'
import { awaitIdle } from './idle-thread.ts'
import { RunStopped, type StopReason } from './run-outcome.ts'
import type { RunRegistry } from './run-registry.ts'
import { tellStop } from './stop-messages.ts'
import type { ThreadSessions } from './thread-sessions.ts'

/** Which runs of the active thread: one, those that stand before `before`, or all. */
export interface StopRequest {
  readonly runId?: RunId | undefined
  readonly before?: RunId
  readonly reason: StopReason
}

export interface StopOptions extends EndingOptions {
  readonly registry: RunRegistry
  readonly sessions: ThreadSessions
  readonly queue: Pick<QueueStore, 'requestStop'>
  readonly bus: Pick<EventBus, 'publish'>
  readonly hasPeers: boolean
  readonly logger: Logger
}

/**
 * Stops runs of the active thread: a waiting one is ended here, the running one by the loop that executes it, be it here or on another node. The newest are stopped first, so
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
 * Stops all runs of the active user, on all nodes, those that come meanwhile too, and resolves when nothing of it runs any more. Aborting the
 * signal ends that: what comes later is left alone.
 */
export async function stopRunsOfUser (signal: AbortSignal, options: StopOptions): Promise<void> {
  const { userId } = currentIdentity()
  for (let threads = await busyThreads(options); threads.length > 0 && !signal.aborted; threads = await busyThreads(options)) {
    await Promise.all(threads.map(async (threadId) => {
      await enterThread(createIdentity({ userId, threadId }), async () => {
        await stopRuns({ reason: 'cancelled' }, options)
        await awaitIdle(signal, options)
      })
    }))
  }
}

/** Threads of the active user in which something is unfinished, here or anywhere. */
async function busyThreads ({ sessions, runs, hasPeers }: StopOptions): Promise<readonly ThreadId[]> {
  const here = sessions.findAll().map(({ threadId }) => threadId)
  return hasPeers ? [...new Set([...here, ...await runs.unfinishedThreads()])] : here
}

async function stopOne (run: RunRecord, reason: StopReason, options: StopOptions): Promise<boolean> {
  const { registry, sessions, queue, bus } = options
  if (run.status === 'queued' && await endRun(run, reason, options)) return true
  const controller = registry.controllerOf(run.runId)
  if (controller !== undefined) {
    controller.abort(new RunStopped(reason))
    await rememberStop(run.runId, reason, options)
    return true
  }
  // Another node executes it, or its claim by this one is still under way; or it has ended, or was stopped, meanwhile.
  if (!await queue.requestStop(run.runId, reason)) return false
  tellStop(bus, run.runId, reason)
  if (sessions.find()?.loop !== undefined) registry.register(run.runId).abort(new RunStopped(reason))
  return true
}

/** Should this process die before the end is stored, nobody goes on with what its user has stopped. */
async function rememberStop (runId: RunId, reason: StopReason, { queue, logger }: StopOptions): Promise<void> {
  try {
    await queue.requestStop(runId, reason)
  } catch (err) {
    logger.warn({ err, run_id: runId }, 'that a run was stopped could not be kept')
  }
}

async function requireInThread (runs: RunStore, runId: RunId): Promise<void> {
  const run = await runs.require(runId)
  if (run.threadId !== currentThread().threadId) throw new ThreadlineError('THREADLINE_RUN_NOT_FOUND')
}
