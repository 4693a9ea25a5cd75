import { currentIdentity } from '../context/current-thread.ts'
import { activeTraceparent } from '../context/traceparent.ts'
import type { EventType, PayloadOf, ServerEvent } from '../protocol/events.ts'
import { newEventId, type ThreadId } from '../protocol/ids.ts'

/**
 * An event of the active identity that is told once and not kept: an answer, a notice. `threadId` is null for what concerns the
 * user and not one thread.
 */
export function createEvent<Type extends EventType> (
  type: Type, payload: PayloadOf<Type>, options: { replyTo?: string | undefined, threadId?: ThreadId | null } = {}
): ServerEvent<Type> {
  const { userId, threadId, runId, requestId } = currentIdentity()
  const traceparent = activeTraceparent()
  return {
    type,
    event_id: newEventId(),
    timestamp: new Date().toISOString(),
    user_id: userId,
    thread_id: options.threadId === undefined ? threadId ?? null : options.threadId,
    ...(runId === undefined || options.threadId === null ? {} : { run_id: runId }),
    request_id: requestId,
    ...(options.replyTo === undefined ? {} : { reply_to: options.replyTo }),
    payload,
    ...(traceparent === undefined ? {} : { traceparent })
  }
}
