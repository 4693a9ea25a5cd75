import { attributes } from '../context/attributes.ts'
import { currentRun } from '../context/current-thread.ts'
import { guard } from '../context/guard.ts'
import { withHop } from '../context/hop.ts'
import { activeTraceparent } from '../context/traceparent.ts'
import { isThreadlineError, ThreadlineError } from '../errors.ts'
import type { EventLog } from '../events/event-log.ts'
import type { RunStep } from '../events/event-store.ts'
import type { NewThreadEvent, PayloadOf, RunEventType, ThreadEvent } from '../protocol/events.ts'
import { newEventId } from '../protocol/ids.ts'
import { RunStory } from '../protocol/run-rules.ts'
import { DeltaBuffer } from './delta-buffer.ts'
import { toJson } from './to-json.ts'
import { briefDelaysMs, patientDelaysMs, whileUnavailable } from './while-unavailable.ts'

/**
 * The one way out of a run. Each `emit` becomes one event of the run that is active, in the order of the calls and with what its
 * payload is at the call, and resolves with its place in the thread once it is durable. Throws `THREADLINE_CONTEXT_MISMATCH` when
 * it is used outside of the run it was made for, whatever is called, `THREADLINE_INVALID_EVENT` for an event that breaks the run's
 * story, and what the log throws. A log that fails for a moment is tried again: the event is stored once, and a `step` of the run that is
 * handed in with it as well, with the event or not at all.
 */
export interface Emitter {
  emit<Type extends RunEventType>(type: Type, payload: PayloadOf<Type>, options?: { step?: RunStep | undefined }): Promise<ThreadEvent<Type>>
  /** Text of the answer as it comes; pieces are gathered before they become an event. */
  delta (text: string, step: number): void
  /** Resolves when everything told so far is durable; rejects with the first error of a delta. */
  flush (): Promise<void>
  readonly ended: boolean
  /** Tool calls that were announced and have not completed. */
  readonly openTools: readonly string[]
}

export interface EmitterOptions {
  readonly log: Pick<EventLog, 'append'>
  /** The attempt of the run, by which the log refuses a stale execution. */
  readonly attempt: number
  readonly agentName: string
  /** Tool calls that the log has announced and not completed: those of a run that somebody else has begun. None by default. */
  readonly openTools?: readonly string[]
  /** Whether the log has the start of the run. It has by default where there are open tools. */
  readonly begun?: boolean
  /**
   * Called when the log does not take the run's events any more: it has ended, a newer attempt has taken it over, or its thread is gone.
   * What follows would be refused as well.
   */
  readonly refused?: (error: ThreadlineError) => void
  readonly deltaLimits?: { maxDelayMs: number, maxCharacters: number }
}

/** Beginnings and ends are waited for by everybody; they are tried for longer. */
const patientTypes: readonly RunEventType[] = ['agent_started', 'agent_resumed', 'tool_completed', 'agent_completed']

/** Makes the emitter of the run that is active now. Throws `THREADLINE_NO_CONTEXT` outside of a run. */
export function createEmitter (options: EmitterOptions): Emitter {
  const { userId, threadId, runId, requestId } = currentRun()
  const story = new RunStory(options.openTools, options)
  let told: Promise<unknown> = Promise.resolve()
  let failed: { error: unknown } | undefined
  let deltaStep = 0
  const deltas = new DeltaBuffer(
    (text) => { send('agent_delta', { text, step: deltaStep }).catch((error: unknown) => { failed ??= { error } }) },
    options.deltaLimits ?? { maxDelayMs: 40, maxCharacters: 2_000 }
  )

  const checkOwner = (): void => { guard({ userId, threadId, runId }, 'emitter') }

  async function send<Type extends RunEventType> (type: Type, given: PayloadOf<Type>, step?: RunStep): Promise<ThreadEvent<Type>> {
    const payload = toJson(given) as PayloadOf<Type> // toJson keeps JSON data as it is
    const violation = story.tell({ type, payload })
    if (violation !== undefined) {
      throw new ThreadlineError('THREADLINE_INVALID_EVENT', `${type} breaks the run's story: ${violation.rule}`)
    }
    const before = told
    const sent = before.catch(() => undefined).then(() => {
      if (type !== 'agent_delta') return storeAsHop(type, payload, step)
      if (failed !== undefined) throw failed.error // its text has a gap already, and would keep the end waiting
      return store(type, payload)
    })
    told = sent
    try {
      return await sent
    } catch (error) {
      story.retract({ type, payload })
      throw error
    }
  }

  function storeAsHop<Type extends RunEventType> (type: Type, payload: PayloadOf<Type>, step: RunStep | undefined): Promise<ThreadEvent<Type>> {
    return withHop('emitter', { attributes: { [attributes.eventType]: type } }, async (span) => {
      const event = await store(type, payload, step)
      span.setAttributes({ [attributes.eventId]: event.event_id, [attributes.sequence]: event.sequence })
      return event
    })
  }

  async function store<Type extends RunEventType> (type: Type, payload: PayloadOf<Type>, step?: RunStep): Promise<ThreadEvent<Type>> {
    const traceparent = activeTraceparent()
    const event: NewThreadEvent<Type> = {
      type,
      event_id: newEventId(),
      timestamp: new Date().toISOString(),
      user_id: userId,
      thread_id: threadId,
      run_id: runId,
      request_id: requestId,
      agent_name: options.agentName,
      payload,
      ...(traceparent === undefined ? {} : { traceparent })
    }
    try {
      const delaysMs = patientTypes.includes(type) ? patientDelaysMs : briefDelaysMs
      const { sequence, epoch } = await whileUnavailable(() => options.log.append(event, options.attempt, step), delaysMs)
      return { ...event, sequence, epoch }
    } catch (error) {
      if (isRefusal(error)) options.refused?.(error)
      throw error
    }
  }

  return {
    async emit (type, payload, { step } = {}) {
      checkOwner()
      deltas.flush()
      return await send(type, payload, step)
    },
    delta (text, step) {
      checkOwner()
      if (failed !== undefined) return
      if (step !== deltaStep) deltas.flush()
      deltaStep = step
      deltas.add(text)
    },
    async flush () {
      checkOwner()
      deltas.flush()
      await told.catch(() => undefined)
      if (failed !== undefined) throw failed.error
    },
    get ended () { return story.ended },
    get openTools () { return story.openTools }
  }
}

function isRefusal (error: unknown): error is ThreadlineError {
  return isThreadlineError(error, 'THREADLINE_CONFLICT') || isThreadlineError(error, 'THREADLINE_THREAD_NOT_FOUND')
}
