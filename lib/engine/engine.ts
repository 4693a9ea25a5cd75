import { setTimeout as delay } from 'node:timers/promises'
import { ThreadlineError } from '../errors.ts'
import type { RunId } from '../protocol/ids.ts'
import type { RunStore, ThreadStore } from '../storage/storage.ts'
import { EndedRuns, type EndedRunListener } from './ended-runs.ts'
import type { ExecutionOptions } from './execute-run.ts'
import { recoverRuns } from './recover-runs.ts'
import { RunStopped } from './run-outcome.ts'
import { RunRegistry } from './run-registry.ts'
import { stopRuns, stopRunsOfUser, type StopRequest } from './stop-runs.ts'
import { launchThread, type LoopOptions } from './thread-loops.ts'
import { ThreadSessions } from './thread-sessions.ts'

/**
 * Executes the runs of this process: in each thread one at a time, in the order in which they were accepted, at most as many
 * at once as there are slots. A run belongs to its thread: it goes on when the socket that started it is gone.
 */
export interface Engine {
  /** Says that a run was queued in the active thread. It is started as soon as the thread and a slot are free. */
  launch (): void
  /**
   * Stops one run of the active thread, all of them, or those that stand before `before`; resolves with those that were stopped. Their
   * terminal events follow. Who stops a run first says how it ends. Throws `THREADLINE_RUN_NOT_FOUND` for a run that is not the thread's.
   */
  stop (request: StopRequest): Promise<readonly RunId[]>
  /** Stops all runs of the active user, in all threads; resolves when nothing of it runs here any more, or the time is over. */
  stopUser (timeoutMs: number): Promise<void>
  /** Resolves when nothing runs in the active thread any more, or the time is over. */
  idle (timeoutMs: number): Promise<void>
  /** After a start: ends what was running when the process died, and starts what waited. */
  recover (): Promise<void>
  /**
   * Calls `listener` for each run whose end this process has stored, in the context of that run. No run waits for it, and one that fails is
   * logged. Returns what takes it away again.
   */
  onEnded (listener: EndedRunListener): () => void
  /** Live state, which is all zero when nothing runs. */
  readonly load: { readonly sessions: number, readonly runs: number, readonly slotsTaken: number, readonly waiting: number }
  /** Starts nothing more, lets runs finish for `graceMs`, and then stops them; each still tells its end. */
  close (graceMs: number): Promise<void>
}

export interface EngineOptions extends ExecutionOptions {
  readonly runs: RunStore
  readonly threads: Pick<ThreadStore, 'state'>
}

const sweepIntervalMs = 60_000
/** How long an entry of the run registry lives whose thread nobody works on. */
const entryLifeMs = 600_000

export function createEngine (options: EngineOptions): Engine {
  const { slots } = options
  const sessions = new ThreadSessions()
  const registry = new RunRegistry()
  const endedRuns = new EndedRuns(options.logger)
  const closing = new AbortController()
  const parts: LoopOptions = { ...options, sessions, registry, endedRuns, closing: closing.signal }
  const sweeping = setInterval(() => { sweep(sessions, registry) }, sweepIntervalMs)
  sweeping.unref()

  return {
    launch: () => { launchThread(parts) },
    stop: (request) => stopRuns(request, parts),
    stopUser: (timeoutMs) => within(timeoutMs, (signal) => stopRunsOfUser(signal, parts)),
    idle: (timeoutMs) => within(timeoutMs, async () => { await sessions.find()?.loop }),
    recover: () => recoverRuns(parts),
    onEnded: (listener) => endedRuns.listen(listener),

    get load () { return { sessions: sessions.size, runs: registry.size, slotsTaken: slots.taken, waiting: slots.waiting } },

    async close (graceMs) {
      closing.abort(new ThreadlineError('THREADLINE_SHUTTING_DOWN'))
      clearInterval(sweeping)
      const idle = sessions.idle()
      const timer = setTimeout(() => { registry.abortAll(new RunStopped('server_stopped')) }, graceMs)
      await idle
      clearTimeout(timer)
      registry.close()
    }
  }
}

/** The runs of a thread that has a loop are read, and stay. */
function sweep (sessions: ThreadSessions, registry: RunRegistry): void {
  sessions.forEach(({ threadId }) => { registry.runsOf(threadId) })
  registry.sweep(entryLifeMs)
}

async function within (timeoutMs: number, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const over = new AbortController()
  const timeout = delay(timeoutMs, undefined, { ref: false, signal: over.signal }).catch(() => undefined)
  try {
    await Promise.race([work(over.signal), timeout])
  } finally {
    over.abort()
  }
}
