import type { ServerEvent } from '../../../lib/protocol/events.ts'
import type { Sendable } from '../test-socket.ts'
import type { Conversations } from './conversations.ts'
import { pick, type ModelUser } from './model.ts'
import { isEvent } from '../is-event.ts'
import type { Tab } from './tab.ts'

/** Tries something on a thread of another user, which must be as if it did not exist. */
export async function trespass (
  way: number, user: ModelUser, tab: Tab, victim: ModelUser, thread: number, conversations: Conversations
): Promise<void> {
  const { threadId } = pick(victim.threads, thread) ?? {}
  const { runId } = pick(victim.messages.filter((message) => message.runId !== undefined), thread) ?? {}
  if (threadId === undefined) return
  const own = user.threads.find(({ deleted }) => !deleted)?.threadId
  const payload = { content: `${user.name}:trespass`, agent: 'planned', metadata: { plan: ['text'] } }
  const commands: readonly Sendable[] = [
    { type: 'user_message', thread_id: threadId, payload },
    { type: 'switch_thread', payload: { thread_id: threadId } },
    { type: 'stop_agent', thread_id: threadId, payload: {} },
    { type: 'get_thread_history', thread_id: threadId, payload: {} },
    { type: 'delete_thread', payload: { thread_id: threadId } },
    { type: 'restore_thread', payload: { thread_id: threadId } },
    { type: 'resume', thread_id: threadId, payload: { after: 0, epoch: conversations.server.app.storage.epoch } },
    ...(own === undefined || runId === undefined ? [] : [{ type: 'stop_agent', thread_id: own, payload: { run_id: runId } }])
  ]
  const command = { ...pick(commands, way), type: pick(commands, way)?.type ?? '', id: crypto.randomUUID() }
  const judge = (answer: ServerEvent): void => {
    const code = isEvent(answer, 'error') ? answer.payload.code : answer.type
    if (code !== 'THREADLINE_THREAD_NOT_FOUND' && code !== 'THREADLINE_RUN_NOT_FOUND') {
      conversations.fault(`${tab.name} was answered ${JSON.stringify(answer)} to ${JSON.stringify(command)} on a thread of ${victim.name}`)
    }
  }
  await conversations.ask(user, tab, command, { judge })
}
