import { createCounter } from '../context/instruments.ts'
import type { Logger } from '../context/logger.ts'
import { metricDefinitions } from '../context/metric-definitions.ts'
import { ThreadlineError } from '../errors.ts'
import type { EventLog } from '../events/event-log.ts'
import type { LeaseKeeper } from '../queue/lease-keeper.ts'
import type { QueueStore } from '../stores/queue-store.ts'
import type { RunRecord } from '../stores/run-record.ts'
import { tellEnd, type EndingOptions } from './end-run.ts'
import { enterRun } from './enter-run.ts'
import { executeRun, type ExecutionOptions } from './execute-run.ts'
import { RunLeft, RunStopped, toStopReason } from './run-outcome.ts'
import type { RunRegistry } from './run-registry.ts'

/** A run that the queue has given to this process. */
export interface Claim {
  readonly run: RunRecord
  /** When it was asked for, by `performance.now()`: its lease is over no earlier than one lease after that. */
  readonly askedAt: number
}

export interface ClaimedRunOptions extends ExecutionOptions, EndingOptions {
  readonly registry: RunRegistry
  readonly queue: Pick<QueueStore, 'release' | 'steps'>
  /** Absent where nobody else could take a run. */
  readonly leases: LeaseKeeper | undefined
  readonly maxRunAttempts: number
  /** With what runs are aborted when this process ends. */
  readonly leaving: RunLeft | RunStopped
  readonly logger: Logger
  /** Aborted when nothing more is to be started. */
  readonly closing: AbortSignal
}

const takenOver = createCounter(metricDefinitions.takenOverRuns)
const lostLeases = createCounter(metricDefinitions.lostLeases)

/**
 * Executes a claimed run in its own identity, or ends it where it must not be executed: nobody of ours has queued it, it has been begun too often, or
 * somebody has stopped it while nobody executed it. Throws when its end cannot be stored.
 */
export async function performClaimed (claim: Claim, options: ClaimedRunOptions): Promise<void> {
  const { run } = claim
  await enterRun(run, options.signer, async (trusted) => {
    if (!trusted) await tellEnd(run, 'not_trusted', options)
    else if (run.stopReason !== null) await tellEnd(run, toStopReason(run.stopReason), options)
    else if (run.attempt - run.givenBack > options.maxRunAttempts) await tellEnd(run, 'server_restarted', options)
    else await execute(claim, options)
  })
}

async function execute ({ run, askedAt }: Claim, options: ClaimedRunOptions): Promise<void> {
  const { registry, endedRuns, leases, closing, leaving } = options
  if (run.attempt > 1) takenOver.add(1)
  const controller = registry.register(run.runId)
  if (closing.aborted) controller.abort(leaving)
  const letGo = leases?.hold(run, askedAt, {
    lost: () => { controller.abort(new RunLeft('lost')) },
    stop: (reason) => { controller.abort(new RunStopped(toStopReason(reason))) }
  })
  try {
    const ended = await executeRun(run, controller, { ...options, log: silencedBy(controller.signal, options.log) })
    if (ended === undefined) await leave(run, controller.signal, options)
    else endedRuns.tell(ended)
  } catch (err) {
    controller.abort(new RunLeft('given_back')) // what of it still goes on tells nothing more
    throw err
  } finally {
    letGo?.()
  }
}

/** The log as it is for one execution, which tells nothing more as soon as the run has left this process. */
function silencedBy (signal: AbortSignal, log: EventLog): EventLog {
  return {
    ...log,
    append: async (...told) => {
      if (signal.reason instanceof RunLeft) throw new ThreadlineError('THREADLINE_CONFLICT', signal.reason.message)
      return await log.append(...told)
    }
  }
}

/** Nothing of the execution is left. Whoever goes on with the run may begin now, or has begun. */
async function leave (run: RunRecord, { reason }: AbortSignal, { queue, runs, leases, logger }: ClaimedRunOptions): Promise<void> {
  try {
    if (reason instanceof RunLeft && reason.how === 'given_back') return await queue.release(run)
    if (leases === undefined) return
    const stored = reason instanceof RunLeft || await runs.require(run.runId)
    if (stored === true || stored.attempt !== run.attempt) lostLeases.add(1)
  } catch (err) {
    logger.info({ err }, 'what became of a run that was left could not be asked') // it is not ours any more: its lease ends by itself
  }
}
