import type { MessageView, ThreadView } from '../../lib/protocol/events.ts'

/** A thread as a scripted server tells of it. */
export function threadView (threadId: string, changes: Partial<ThreadView> = {}): ThreadView {
  return { thread_id: threadId, title: null, metadata: {}, created_at: '', updated_at: '', archived_at: null, deleted_at: null, ...changes }
}

/** A message as a scripted server tells of it: the first of its thread. */
export function messageView (
  message: Pick<MessageView, 'message_id' | 'thread_id' | 'role' | 'content'> & Partial<MessageView>
): MessageView {
  return { run_id: null, metadata: {}, parent_id: null, sibling_ids: [message.message_id], created_at: '', ...message }
}
