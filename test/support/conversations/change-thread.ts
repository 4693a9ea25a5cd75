import type { ServerEvent } from '../../../lib/protocol/events.ts'
import type { ActionOf } from './actions.ts'
import type { Conversations } from './conversations.ts'
import { expectStops, pick, type ModelUser } from './model.ts'
import { isEvent } from '../is-event.ts'
import type { Tab } from './tab.ts'

/** Makes a thread, deletes one or brings one back, and waits for the answer. */
export async function changeThread (
  action: ActionOf<'create' | 'delete' | 'restore'>, user: ModelUser, tab: Tab, conversations: Conversations
): Promise<void> {
  const id = crypto.randomUUID()
  const fault = (answer: unknown): void => { conversations.fault(`${tab.name}: ${JSON.stringify(action)} is answered with ${JSON.stringify(answer)}`) }
  if (action.do === 'create') {
    await conversations.ask(user, tab, { type: 'create_thread', id, payload: {} }, {
      judge: (answer) => { if (!isEvent(answer, 'thread_created')) fault(answer) }
    })
    return
  }
  const thread = pick(user.threads, action.thread)
  if (thread === undefined) return
  const { deleted } = thread
  thread.changes += 1
  if (action.do === 'delete' && !deleted) expectStops(user, thread.threadId, 'cancelled')
  const judge = (answer: ServerEvent): void => {
    const wanted = action.do === 'restore' ? isEvent(answer, 'thread_updated') && answer.payload.deleted_at === null : isEvent(answer, 'thread_deleted')
    const missing = action.do === 'delete' && deleted && isEvent(answer, 'error') && answer.payload.code === 'THREADLINE_THREAD_NOT_FOUND'
    if (!wanted && !missing) fault(answer)
    thread.deleted = action.do === 'delete'
  }
  await conversations.ask(user, tab, { type: `${action.do}_thread`, id, payload: { thread_id: thread.threadId } }, { judge })
  thread.changes += 1
}
