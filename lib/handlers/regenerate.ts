import { toMessageId } from '../protocol/ids.ts'
import { acceptRun, newRun, requireAgent } from './accept-run.ts'
import type { Handler } from './handler.ts'

/** Answers a message once more. The new answer stands beside the one that there is, on the visible branch. */
export const regenerate: Handler<'regenerate'> = async ({ id, payload }, connection, tools) => {
  const { message_id: messageId, agent, multitask_strategy: strategy = 'enqueue' } = payload
  if (agent !== undefined) requireAgent(agent, tools)
  const store = async () => await tools.storage.runs.regenerate({
    ...newRun(id, strategy, tools),
    messageId: messageId === undefined ? undefined : toMessageId(messageId),
    agent,
    defaultAgent: tools.defaultAgent,
    context: {}
  })

  await acceptRun({ strategy, answer: 'run_created', leavesBranch: true, store }, connection, tools)
}
