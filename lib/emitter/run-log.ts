import { attributes } from '../context/attributes.ts'
import { withHop } from '../context/hop.ts'
import type { RunIdentity } from '../context/identity.ts'
import { activeTraceparent } from '../context/traceparent.ts'
import { isThreadlineError, type ThreadlineError } from '../errors.ts'
import type { EventLog } from '../events/event-log.ts'
import type { NewThreadEvent, PayloadOf, RunEventType, ThreadEvent } from '../protocol/events.ts'
import { newEventId } from '../protocol/ids.ts'
import type { RunStep } from '../stores/run-step.ts'
import { briefDelaysMs, patientDelaysMs, whileUnavailable } from './while-unavailable.ts'

export interface RunLogOptions {
  readonly log: Pick<EventLog, 'append'>
  /** The attempt of the run, by which the log refuses a stale execution. */
  readonly attempt: number
  readonly agentName: string
  /**
   * Called when the log does not take the run's events any more: it has ended, a newer attempt has taken it over, or its thread is gone.
   * What follows would be refused as well.
   */
  readonly refused?: (error: ThreadlineError) => void
}

/** Beginnings and ends are waited for by everybody; they are tried for longer. */
const patientTypes: readonly RunEventType[] = ['agent_started', 'agent_resumed', 'tool_completed', 'agent_completed']

/**
 * The log as one run writes it: each event is the run's, and made once. It is tried again, under its one id, while the storage is away. Throws what the
 * log throws.
 */
export class RunLog {
  readonly #run: RunIdentity
  readonly #options: RunLogOptions

  constructor (run: RunIdentity, options: RunLogOptions) {
    this.#run = run
    this.#options = options
  }

  /** A hop of its own, which the event's trace names. */
  appendAsHop<Type extends RunEventType> (type: Type, payload: PayloadOf<Type>, step: RunStep | undefined): Promise<ThreadEvent<Type>> {
    return withHop('emitter', { attributes: { [attributes.eventType]: type } }, async (span) => {
      const event = await this.append(type, payload, step)
      span.setAttributes({ [attributes.eventId]: event.event_id, [attributes.sequence]: event.sequence })
      return event
    })
  }

  async append<Type extends RunEventType> (type: Type, payload: PayloadOf<Type>, step?: RunStep): Promise<ThreadEvent<Type>> {
    const { log, attempt, refused } = this.#options
    const event = this.#make(type, payload)
    try {
      const delaysMs = patientTypes.includes(type) ? patientDelaysMs : briefDelaysMs
      const { sequence, epoch } = await whileUnavailable(() => log.append(event, attempt, step), delaysMs)
      return { ...event, sequence, epoch }
    } catch (error) {
      if (isRefusal(error)) refused?.(error)
      throw error
    }
  }

  #make<Type extends RunEventType> (type: Type, payload: PayloadOf<Type>): NewThreadEvent<Type> {
    const { userId, threadId, runId, requestId } = this.#run
    const traceparent = activeTraceparent()
    return {
      type,
      event_id: newEventId(),
      timestamp: new Date().toISOString(),
      user_id: userId,
      thread_id: threadId,
      run_id: runId,
      request_id: requestId,
      agent_name: this.#options.agentName,
      payload,
      ...(traceparent === undefined ? {} : { traceparent })
    }
  }
}

function isRefusal (error: unknown): error is ThreadlineError {
  return isThreadlineError(error, 'THREADLINE_CONFLICT') || isThreadlineError(error, 'THREADLINE_THREAD_NOT_FOUND')
}
