import type { EventType, PayloadOf, ServerEvent } from '../../lib/protocol/events.ts'
import { newEventId, newRequestId, newThreadId, toUserId, type ThreadId } from '../../lib/protocol/ids.ts'

/** An event of nobody in particular. */
export function someEvent<Type extends EventType> (type: Type, payload: PayloadOf<Type>, envelope: Partial<ServerEvent<Type>> = {}): ServerEvent<Type> {
  return {
    type,
    event_id: newEventId(),
    timestamp: '2026-11-22T12:00:00.000Z',
    user_id: toUserId('alice'),
    thread_id: newThreadId(),
    request_id: newRequestId(),
    payload,
    ...envelope
  }
}

/** Text of a run at its place in the log. */
export function someDelta (sequence: number, text: string, threadId: ThreadId = newThreadId()): ServerEvent<'agent_delta'> {
  return someEvent('agent_delta', { text, step: 0 }, { sequence, epoch: 'e1', thread_id: threadId })
}
