import type { RunStatus } from '../protocol/events.ts'
import type { ConnectionId, MessageId, RequestId, RunId, ThreadId, UserId } from '../protocol/ids.ts'

/** A run as it is stored. */
export interface RunRecord {
  readonly runId: RunId
  readonly threadId: ThreadId
  readonly userId: UserId
  readonly messageId: MessageId
  readonly requestId: RequestId
  readonly connectionId: ConnectionId | null
  readonly agent: string
  readonly input: string
  readonly context: Readonly<Record<string, unknown>>
  readonly status: RunStatus
  /** 0 before it is first claimed. Appends of a run whose attempt is not the stored one are refused. */
  readonly attempt: number
  /** How many of its attempts have ended by being given back, and not by the death of their process. */
  readonly givenBack: number
  readonly traceparent: string | null
  readonly createdAt: string
  readonly startedAt: string | null
  readonly finishedAt: string | null
  readonly error: string | null
  /** Made by who accepted it; null when that was a version that signed nothing. */
  readonly signature: string | null
  /** Why it is to stop; null while nobody has asked for that. */
  readonly stopReason: string | null
}
