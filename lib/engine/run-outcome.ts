import { isThreadlineError, ThreadlineError, toPublicError } from '../errors.ts'
import type { PayloadOf, RunOutcome } from '../protocol/events.ts'

/**
 * Why a run stopped, in words that clients may read and act on. `cancelled`: the user stopped it. `interrupted`: a newer message
 * took its place. `rolled_back`: the same, and its messages are removed. `timed_out`, `step_timed_out`: the run, or a single call of its
 * model, took too long. `server_stopped`, `server_restarted`, `storage_failed`: it can be asked for again. `not_trusted`: no node of this
 * service has put it into the queue.
 */
export type StopReason = keyof typeof codes

/** The reason with which a run's signal is aborted. */
export class RunStopped extends ThreadlineError {
  readonly stopReason: StopReason

  constructor (stopReason: StopReason) {
    super(codes[stopReason])
    this.stopReason = stopReason
  }
}

const codes = {
  cancelled: 'THREADLINE_CANCELLED',
  interrupted: 'THREADLINE_CANCELLED',
  rolled_back: 'THREADLINE_CANCELLED',
  timed_out: 'THREADLINE_TIMED_OUT',
  step_timed_out: 'THREADLINE_TIMED_OUT',
  server_stopped: 'THREADLINE_SHUTTING_DOWN',
  server_restarted: 'THREADLINE_SHUTTING_DOWN',
  storage_failed: 'THREADLINE_STORAGE_UNAVAILABLE',
  not_trusted: 'THREADLINE_UNTRUSTED_RUN'
} as const

const outcomes: Record<StopReason, RunOutcome> = {
  cancelled: 'cancelled',
  interrupted: 'cancelled',
  rolled_back: 'cancelled',
  timed_out: 'timed_out',
  step_timed_out: 'timed_out',
  server_stopped: 'failed',
  server_restarted: 'failed',
  storage_failed: 'failed',
  not_trusted: 'failed'
}

/** A reason that has come from another node; one that only a newer version knows is the user's. */
export function toStopReason (text: string): StopReason {
  return Object.hasOwn(codes, text) ? text as StopReason : 'cancelled' // just checked
}

/**
 * The reason with which a run's signal is aborted when this process is not the one to end it. `lost`: another process has taken it over, or may
 * have. `given_back`: another one is to go on with it, because this one ends. Nothing more is told of it here.
 */
export class RunLeft extends ThreadlineError {
  readonly how: 'lost' | 'given_back'

  constructor (how: 'lost' | 'given_back') {
    super(how === 'lost' ? 'THREADLINE_CONFLICT' : 'THREADLINE_SHUTTING_DOWN', 'The run goes on in another process')
    this.how = how
  }
}

type Ending = Pick<PayloadOf<'agent_completed'>, 'status' | 'reason' | 'error'>

/** How a run that threw ends. A stop explains whatever error it led to; any other error is a failure. */
export function endingOfError (error: unknown, signal: AbortSignal): Ending {
  const cause: unknown = signal.aborted ? signal.reason : error
  if (cause instanceof RunStopped) {
    return { status: outcomes[cause.stopReason], reason: cause.stopReason, error: toPublicError(cause) }
  }
  return { status: 'failed', reason: isThreadlineError(cause) ? cause.message : 'internal_error', error: toPublicError(cause) }
}
