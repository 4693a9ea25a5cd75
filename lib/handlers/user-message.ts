import { acceptRun, storingMessage } from './accept-run.ts'
import type { Handler } from './handler.ts'

/**
 * A message of the user, answered by a run. `message_accepted` is told once message and run are durable; the run's events follow.
 * A message that had been accepted before is answered with the run that it has.
 */
export const userMessage: Handler<'user_message'> = async ({ id, payload }, connection, tools) => {
  const { content, agent = tools.defaultAgent, multitask_strategy: strategy = 'enqueue', metadata = {}, edit_of: editOf } = payload
  const store = storingMessage({ clientId: id, content, agent, metadata, editOf }, strategy, tools)

  await acceptRun({ strategy, answer: 'message_accepted', leavesBranch: editOf !== undefined, store }, connection, tools)
}
