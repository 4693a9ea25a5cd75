import { setTimeout as delay } from 'node:timers/promises'
import { enterThread } from '../context/current-thread.ts'
import { createIdentity } from '../context/identity.ts'
import type { Signer } from '../context/signature.ts'
import { ThreadlineError } from '../errors.ts'
import type { EventBus } from '../events/event-bus.ts'
import type { RunId } from '../protocol/ids.ts'
import { LeaseKeeper } from '../queue/lease-keeper.ts'
import type { Lease, QueueStore } from '../stores/queue-store.ts'
import type { RunStore } from '../stores/run-store.ts'
import type { ThreadStore } from '../stores/thread-store.ts'
import { EndedRuns, type EndedRunListener } from './ended-runs.ts'
import type { ExecutionOptions } from './execute-run.ts'
import { awaitIdle } from './idle-thread.ts'
import { recoverRuns } from './recover-runs.ts'
import { RunLeft, RunStopped } from './run-outcome.ts'
import { RunRegistry } from './run-registry.ts'
import { hearStops } from './stop-messages.ts'
import { stopRuns, stopRunsOfUser, type StopOptions, type StopRequest } from './stop-runs.ts'
import { launchThread, type LoopOptions } from './thread-loops.ts'
import { ThreadSessions } from './thread-sessions.ts'
import { WorkIntake } from './work-intake.ts'

/**
 * Executes runs: in each thread one at a time, in the order in which they were accepted, at most as many at once as there are slots. A run belongs
 * to its thread: it goes on when the socket that started it is gone, and in another process when this one is.
 */
export interface Engine {
  /**
   * Says that a run was queued in the active thread. It is taken from the queue as soon as the thread is free, here or on another node, which is where
   * there is room first.
   */
  launch (): void
  /**
   * Stops one run of the active thread, all of them, or those that stand before `before`, on whatever node they are; resolves with those that were stopped. Their
   * terminal events follow. Who stops a run first says how it ends. Throws `THREADLINE_RUN_NOT_FOUND` for a run that is not the thread's.
   */
  stop (request: StopRequest): Promise<readonly RunId[]>
  /** Stops all runs of the active user, in all threads and on all nodes; resolves when nothing of it runs any more, or the time is over. */
  stopUser (timeoutMs: number): Promise<void>
  /** Resolves when nothing runs in the active thread any more, on whatever node, or the time is over. */
  idle (timeoutMs: number): Promise<void>
  /** After a start: goes on with what a process that is no more has left, and looks for work from now on. */
  recover (): Promise<void>
  /**
   * Calls `listener` for each run whose end this process has stored, in the context of that run. No run waits for it, and one that fails is
   * logged. Returns what takes it away again.
   */
  onEnded (listener: EndedRunListener): () => void
  /** Live state, which is all zero when nothing runs. */
  readonly load: { readonly sessions: number, readonly runs: number, readonly slotsTaken: number, readonly waiting: number }
  /**
   * Takes nothing more from the queue, lets runs finish for `graceMs`, and then leaves them: to the next process where what is stored outlives this one, which
   * can begin at once; else each tells its end, as stopped by the server.
   */
  close (graceMs: number): Promise<void>
}

export interface EngineOptions extends ExecutionOptions {
  readonly runs: RunStore
  readonly threads: Pick<ThreadStore, 'state'>
  readonly queue: QueueStore
  readonly signer: Signer
  readonly bus: Pick<EventBus, 'publish' | 'subscribe'>
  /** In whose name runs are taken from the queue, and for how long. */
  readonly lease: Lease
  /** Takes runs from the queue at all. Where not, they are only announced. */
  readonly executes: boolean
  /** Other processes may take runs from the same queue. */
  readonly hasPeers: boolean
  /** What is stored outlives the process. */
  readonly outlived: boolean
  /** A run that was begun that often and is to be taken over once more ends instead. */
  readonly maxRunAttempts: number
  /** How often a node looks for work that it was not told of. A second by default. */
  readonly pollIntervalMs?: number
}

const sweepIntervalMs = 60_000
/** How long an entry of the run registry lives whose thread nobody works on. */
const entryLifeMs = 600_000

export function createEngine (options: EngineOptions): Engine {
  const { slots, executes, hasPeers } = options
  const closing = new AbortController()
  const parts = createParts(options, closing.signal)
  const { sessions, registry, endedRuns, leases, intake } = parts
  const sweeping = setInterval(() => { sweep(sessions, registry) }, sweepIntervalMs)
  sweeping.unref()

  return {
    launch () {
      if (executes && (sessions.find() !== undefined || intake.hasRoom())) launchThread(parts)
      else intake.leave()
    },
    stop: (request) => stopRuns(request, parts),
    stopUser: (timeoutMs) => within(timeoutMs, (signal) => stopRunsOfUser(signal, parts)),
    idle: (timeoutMs) => within(timeoutMs, (signal) => awaitIdle(signal, parts)),
    async recover () {
      if (!executes) return
      if (!hasPeers) await recoverRuns(parts)
      intake.start()
    },
    onEnded: (listener) => endedRuns.listen(listener),

    get load () { return { sessions: sessions.size, runs: registry.size, slotsTaken: slots.taken, waiting: slots.waiting } },

    async close (graceMs) {
      closing.abort(new ThreadlineError('THREADLINE_SHUTTING_DOWN'))
      clearInterval(sweeping)
      const idle = sessions.idle()
      const timer = setTimeout(() => { registry.abortAll(parts.leaving) }, graceMs)
      await idle
      clearTimeout(timer)
      await Promise.all([intake.close(), leases?.close()])
      registry.close()
    }
  }
}

type Parts = LoopOptions & StopOptions & { readonly intake: WorkIntake }

function createParts (options: EngineOptions, closing: AbortSignal): Parts {
  const { slots, queue, lease, bus, hasPeers, outlived, logger } = options
  const sessions = new ThreadSessions()
  const registry = new RunRegistry()
  const parts: Parts = {
    ...options,
    sessions,
    registry,
    endedRuns: new EndedRuns(logger),
    leases: hasPeers ? new LeaseKeeper({ store: queue, lease, logger }) : undefined,
    closing,
    leaving: outlived ? new RunLeft('given_back') : new RunStopped('server_stopped'),
    listen: (session) => hearStops(bus, registry, session),
    intake: new WorkIntake({
      ...options,
      closing,
      freeSlots: () => slots.limit - sessions.size,
      working: () => sessions.size,
      launch: ({ userId, threadId }) => { enterThread(createIdentity({ userId, threadId }), () => { launchThread(parts) }) }
    }),
    loopEnded: () => { parts.intake.freed() }
  }
  return parts
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
