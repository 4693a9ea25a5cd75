import type { EventType, ServerEvent } from '../protocol/events.ts'
import type { RunId, ThreadId } from '../protocol/ids.ts'

/** What is told of a run beside what it tells itself, and of the stream. Nobody else is answered on the stream of a run. */
const besides: readonly EventType[] = ['message_accepted', 'run_queued', 'run_state', 'token_expiring', 'error']

/** What the reader of one run listens to: what that run tells, once it is known which one it is, and what concerns the reader itself. */
export class RunListening {
  readonly #threadId: ThreadId
  #runId: RunId | undefined

  constructor (threadId: ThreadId) {
    this.#threadId = threadId
  }

  to (runId: RunId): void { this.#runId = runId }

  hears (event: ServerEvent): boolean {
    if (event.sequence !== undefined) return event.run_id === this.#runId
    return besides.includes(event.type) || isDeletion(event, this.#threadId)
  }

  /** After the run's end, or how it stands where it tells that no more, there is nothing to listen to. */
  isLast (event: ServerEvent): boolean {
    if (event.type === 'run_state' || isDeletion(event, this.#threadId)) return true
    return event.type === 'agent_completed' && event.run_id === this.#runId
  }
}

export function isDeletion (event: ServerEvent, threadId: ThreadId): boolean {
  return event.type === 'thread_deleted' && 'thread_id' in event.payload && event.payload.thread_id === threadId
}
