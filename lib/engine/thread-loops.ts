import { isThreadlineError } from '../errors.ts'
import type { Lease, QueueStore } from '../stores/queue-store.ts'
import { performClaimed, type Claim, type ClaimedRunOptions } from './claimed-run.ts'
import { endUnended, giveBackUnknown, pause } from './doubtful-runs.ts'
import { RunStopped } from './run-outcome.ts'
import { enterSession, type ThreadSession, type ThreadSessions } from './thread-sessions.ts'

export interface LoopOptions extends ClaimedRunOptions {
  readonly sessions: ThreadSessions
  readonly queue: Pick<QueueStore, 'release' | 'renew' | 'steps'>
  readonly lease: Lease
  readonly hasPeers: boolean
  /** Hears what other nodes ask of the runs of a thread, until what it returns is called. */
  readonly listen: (session: ThreadSession) => () => void
  /** A loop has ended: there is room for another one, or somebody else has to go on. */
  readonly loopEnded: () => void
}

/**
 * Says that there is work in the active thread: its loop, of which there is one, takes its runs from the queue one after the other and
 * ends when there are none. `doubtful` says that the database may hold a running run of this process that nobody executes; it is given back first.
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
  const { sessions, registry, closing, listen, loopEnded } = options
  const deafen = listen(session)
  while (hasWork(session) && !closing.aborted) {
    session.requested = false
    if (session.unended !== undefined) await endUnended(session, options)
    if (session.doubtful) await giveBackUnknown(session, options)
    for (let next = await claim(session, options); next !== undefined; next = await claim(session, options)) await perform(next, session, options)
  }
  deafen()
  // Those that were to be stopped and never came.
  for (const runId of registry.runsOf(session.threadId)) registry.unregister(runId)
  session.loop = undefined
  sessions.release()
  loopEnded()
}

function hasWork ({ requested, doubtful, unended }: ThreadSession): boolean {
  return requested || doubtful || unended !== undefined
}

async function claim (session: ThreadSession, { runs, lease, logger, closing }: LoopOptions): Promise<Claim | undefined> {
  if (closing.aborted) return undefined
  const askedAt = performance.now()
  try {
    const run = await runs.claimNext(session.threadId, lease)
    return run === undefined ? undefined : { run, askedAt }
  } catch (err) {
    if (isThreadlineError(err, 'THREADLINE_THREAD_NOT_FOUND')) return undefined
    logger.error({ err }, 'the next run could not be taken from the queue')
    session.doubtful = true
    await pause(closing)
    return undefined
  }
}

async function perform (claim: Claim, session: ThreadSession, options: LoopOptions): Promise<void> {
  const { registry, logger } = options
  const { run } = claim
  try {
    await performClaimed(claim, options)
  } catch (err) {
    logger.error({ err, run_id: run.runId }, 'the end of a run could not be told')
    const stopped: unknown = registry.controllerOf(run.runId)?.signal.reason
    if (stopped instanceof RunStopped) session.unended = { run, reason: stopped.stopReason }
    else if (isThreadlineError(err, 'THREADLINE_STORAGE_UNAVAILABLE')) session.doubtful = true
    else session.unended = { run, reason: 'storage_failed' }
  } finally {
    registry.unregister(run.runId)
  }
}
