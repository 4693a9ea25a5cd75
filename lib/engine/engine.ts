import { setTimeout as delay } from 'node:timers/promises'
import { currentThread, enterThread } from '../context/current-thread.ts'
import { createIdentity, createRunIdentity, type RunIdentity } from '../context/identity.ts'
import { parseTraceparent } from '../context/traceparent.ts'
import { createEmitter } from '../emitter/emitter.ts'
import { isThreadlineError, ThreadlineError } from '../errors.ts'
import type { RunId } from '../protocol/ids.ts'
import type { RunRecord, RunStore } from '../storage/storage.ts'
import { executeRun, type ExecutionOptions } from './execute-run.ts'
import { endingOfError, RunStopped, type StopReason } from './run-outcome.ts'
import { controllerOf, ThreadSessions, type ThreadSession } from './thread-sessions.ts'

/**
 * Executes the runs of this process: in each thread one at a time, in the order in which they were accepted, at most as many
 * at once as there are slots. A run belongs to its thread: it goes on when the socket that started it is gone.
 */
export interface Engine {
  /** Says that a run was queued in the active thread. It is started as soon as the thread and a slot are free. */
  launch (): void
  /**
   * Stops one run of the active thread, all of them, or those that stand before `before`; resolves with those that were stopped. Their
   * terminal events follow. Throws `THREADLINE_RUN_NOT_FOUND` for a run that is not the thread's.
   */
  stop (request: { runId?: RunId | undefined, before?: RunId, reason: StopReason }): Promise<readonly RunId[]>
  /** Resolves when nothing runs in the active thread any more, or the time is over. */
  idle (timeoutMs: number): Promise<void>
  /** After a start: ends what was running when the process died, and starts what waited. */
  recover (): Promise<void>
  /** Live state, which is all zero when nothing runs. */
  readonly load: { readonly sessions: number, readonly slotsTaken: number, readonly waiting: number }
  /** Starts nothing more, lets runs finish for `graceMs`, and then stops them; each still tells its end. */
  close (graceMs: number): Promise<void>
}

export interface EngineOptions extends ExecutionOptions {
  readonly runs: RunStore
}

const claimRetryMs = 1_000

export function createEngine (options: EngineOptions): Engine {
  const { runs, log, slots, logger } = options
  const sessions = new ThreadSessions()
  const closing = new AbortController()

  function launch (): void {
    if (closing.signal.aborted) return
    const session = sessions.obtain()
    session.requested = true
    // The loop works in the name of the thread, not of the message that happened to start it.
    session.loop ??= enterThread(createIdentity({ userId: session.userId, threadId: session.threadId }), () => loop(session))
  }

  async function loop (session: ThreadSession): Promise<void> {
    while ((session.requested || session.doubtful) && !closing.signal.aborted) {
      session.requested = false
      if (session.doubtful) await endAbandoned(session)
      for (let run = await claim(session); run !== undefined; run = await claim(session)) await execute(run, session)
    }
    session.loop = undefined
    sessions.release()
  }

  async function claim (session: ThreadSession): Promise<RunRecord | undefined> {
    if (closing.signal.aborted) return undefined
    try {
      return await runs.claimNext(session.threadId)
    } catch (err) {
      if (isThreadlineError(err, 'THREADLINE_THREAD_NOT_FOUND')) return undefined
      logger.error({ err }, 'the next run could not be taken from the queue')
      session.doubtful = true
      await pause()
      return undefined
    }
  }

  async function execute (run: RunRecord, session: ThreadSession): Promise<void> {
    const controller = controllerOf(session, run.runId)
    if (closing.signal.aborted) controller.abort(new RunStopped('server_stopped'))
    try {
      await enterRun(run, () => executeRun(run, controller, options))
    } catch (err) {
      logger.error({ err, run_id: run.runId }, 'the end of a run could not be told')
      session.doubtful = true
    } finally {
      session.active.delete(run.runId)
    }
  }

  /**
   * Ends what the database says is running in the thread although nobody executes it: a run whose claim was committed and never answered,
   * or whose end could not be stored. Without that the thread would wait for it for ever.
   */
  async function endAbandoned (session: ThreadSession): Promise<void> {
    try {
      const unfinished = await runs.unfinished(session.threadId)
      for (const run of unfinished) if (run.status === 'running') await endUnstarted(run, 'storage_failed')
      session.doubtful = false
      session.requested = true
    } catch (err) {
      logger.error({ err }, 'an abandoned run could not be ended yet')
      await pause()
    }
  }

  /** Closing ends it. */
  async function pause (): Promise<void> {
    await delay(claimRetryMs, undefined, { signal: closing.signal }).catch(() => undefined)
  }

  /** Ends a run that nobody executes. False when it has been claimed or has ended meanwhile. */
  async function endUnstarted (run: RunRecord, reason: StopReason): Promise<boolean> {
    return await enterRun(run, async () => {
      try {
        const ending = endingOfError(new RunStopped(reason), AbortSignal.abort(new RunStopped(reason)))
        await createEmitter({ log, attempt: run.attempt, agentName: run.agent }).emit('agent_completed', ending)
        return true
      } catch (err) {
        if (isThreadlineError(err, 'THREADLINE_CONFLICT')) return false
        throw err
      }
    })
  }

  async function stopOne (run: RunRecord, reason: StopReason): Promise<boolean> {
    if (run.status === 'queued' && await endUnstarted(run, reason)) return true
    const session = sessions.find()
    if (session?.loop === undefined) return false
    controllerOf(session, run.runId).abort(new RunStopped(reason))
    return true
  }

  return {
    launch,

    async stop ({ runId, before, reason }) {
      const unfinished = await runs.unfinished(currentThread().threadId)
      if (runId !== undefined) await requireInThread(runs, runId)
      const end = unfinished.findIndex((run) => run.runId === before)
      const standing = end === -1 ? unfinished : unfinished.slice(0, end)
      const wanted = standing.filter((run) => runId === undefined || run.runId === runId)
      const stopped: RunId[] = []
      for (const run of wanted) if (await stopOne(run, reason)) stopped.push(run.runId)
      return stopped
    },

    async idle (timeoutMs) {
      const loop = sessions.find()?.loop
      if (loop !== undefined) await Promise.race([loop, delay(timeoutMs, undefined, { ref: false })])
    },

    async recover () {
      for (const run of await runs.recoverable()) {
        try {
          if (run.status === 'queued') enterRun(run, launch)
          else await endUnstarted(run, 'server_restarted')
        } catch (err) {
          logger.error({ err, run_id: run.runId }, 'a run of the last process could not be ended')
        }
      }
    },

    get load () { return { sessions: sessions.size, slotsTaken: slots.taken, waiting: slots.waiting } },

    async close (graceMs) {
      closing.abort(new ThreadlineError('THREADLINE_SHUTTING_DOWN'))
      const idle = sessions.idle()
      const timer = setTimeout(() => { sessions.abortAll(new RunStopped('server_stopped')) }, graceMs)
      await idle
      clearTimeout(timer)
    }
  }
}

async function requireInThread (runs: RunStore, runId: RunId): Promise<void> {
  const run = await runs.require(runId)
  if (run.threadId !== currentThread().threadId) throw new ThreadlineError('THREADLINE_RUN_NOT_FOUND')
}

/** A run taken from the queue is worked on under its own identity, in the trace of its message. */
function enterRun<T> (run: RunRecord, fn: () => T): T {
  return enterThread(identityOfRun(run), fn, { parent: parseTraceparent(run.traceparent) })
}

function identityOfRun (run: RunRecord): RunIdentity {
  return createRunIdentity({
    userId: run.userId,
    threadId: run.threadId,
    runId: run.runId,
    requestId: run.requestId,
    connectionId: run.connectionId ?? undefined
  })
}
