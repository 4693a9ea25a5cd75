import type { EventLog } from '../../lib/events/event-log.ts'
import type { NewThreadEvent, RunEventType, ThreadEvent } from '../../lib/protocol/events.ts'
import type { RunStep } from '../../lib/stores/run-step.ts'

export interface RecordingLog extends Pick<EventLog, 'append'> {
  /** What was stored, in order, each event once. */
  readonly events: readonly ThreadEvent[]
  readonly types: readonly RunEventType[]
  /** Every call, also those that failed. */
  readonly calls: readonly { readonly event: NewThreadEvent, readonly attempt: number, readonly step?: RunStep | undefined }[]
}

/**
 * A log that keeps what is appended, and numbers it. `before` is asked at each append with the number of the call, from 1: what it
 * throws is what `append` throws, and what it waits for is waited for.
 */
export function createRecordingLog (before: (event: NewThreadEvent, call: number) => Promise<void> | void = () => {}): RecordingLog {
  const events: ThreadEvent[] = []
  const calls: { event: NewThreadEvent, attempt: number, step?: RunStep | undefined }[] = []
  return {
    events,
    calls,
    get types () { return events.map(({ type }) => type) },
    async append (event, attempt, step) {
      calls.push({ event, attempt, ...(step === undefined ? {} : { step }) })
      await before(event, calls.length)
      const stored = events.find(({ event_id: id }) => id === event.event_id)
      if (stored !== undefined) return stored
      const placed = { ...event, sequence: events.length + 1, epoch: 'epoch' }
      events.push(placed)
      return placed
    }
  }
}
