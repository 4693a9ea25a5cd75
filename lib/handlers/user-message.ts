import { currentRun } from '../context/current-thread.ts'
import { acceptMessage } from './accept-message.ts'
import type { Handler } from './handler.ts'

/**
 * A message of the user, answered by a run. `message_accepted` is told once message and run are durable; the run's events follow.
 * A message that had been accepted before is answered with the run that it has.
 */
export const userMessage: Handler<'user_message'> = async (command, connection, tools) => {
  const { content, agent = tools.defaultAgent, multitask_strategy: strategy = 'enqueue', metadata = {} } = command.payload
  const message = { clientId: command.id, content, agent, strategy, metadata }

  await acceptMessage(message, connection, tools, async ({ messageId, runId, duplicate, position }) => {
    connection.reply('message_accepted', { message_id: messageId, run_id: runId, duplicate })
    if (duplicate) return
    if (position > 0 && strategy === 'enqueue') connection.reply('run_queued', { run_id: runId, position })
    tools.engine.launch()
    if (strategy === 'interrupt') await tools.engine.stop({ before: currentRun().runId, reason: 'interrupted' })
  })
}
