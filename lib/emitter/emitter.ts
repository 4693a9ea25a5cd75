import { currentRun } from '../context/current-thread.ts'
import { guard } from '../context/guard.ts'
import { ThreadlineError } from '../errors.ts'
import type { PayloadOf, RunEventType, ThreadEvent } from '../protocol/events.ts'
import { RunStory } from '../protocol/run-rules.ts'
import type { RunStep } from '../stores/run-step.ts'
import { DeltaBuffer } from './delta-buffer.ts'
import { RunLog, type RunLogOptions } from './run-log.ts'
import { toJson } from './to-json.ts'

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

export interface EmitterOptions extends RunLogOptions {
  /** Tool calls that the log has announced and not completed: those of a run that somebody else has begun. None by default. */
  readonly openTools?: readonly string[]
  /** Whether the log has the start of the run. It has by default where there are open tools. */
  readonly begun?: boolean
  readonly deltaLimits?: { maxDelayMs: number, maxCharacters: number }
}

/** Makes the emitter of the run that is active now. Throws `THREADLINE_NO_CONTEXT` outside of a run. */
export function createEmitter (options: EmitterOptions): Emitter {
  const run = currentRun()
  const { userId, threadId, runId } = run
  const story = new RunStory(options.openTools, options)
  const log = new RunLog(run, options)
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
      if (type !== 'agent_delta') return log.appendAsHop(type, payload, step)
      if (failed !== undefined) throw failed.error // its text has a gap already, and would keep the end waiting
      return log.append(type, payload)
    })
    told = sent
    try {
      return await sent
    } catch (error) {
      story.retract({ type, payload })
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
