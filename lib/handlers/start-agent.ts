import { acceptMessage } from './accept-message.ts'
import type { Handler } from './handler.ts'

/** Starts a named agent on an input, which becomes the user's message. `run_created` is told once both are durable. */
export const startAgent: Handler<'start_agent'> = async (command, connection, tools) => {
  const { agent, input, context = {} } = command.payload
  const message = { clientId: command.id, content: input, agent, strategy: 'enqueue', metadata: context } as const

  await acceptMessage(message, connection, tools, async ({ messageId, runId, duplicate, position }) => {
    connection.reply('run_created', { message_id: messageId, run_id: runId })
    if (duplicate) return
    if (position > 0) connection.reply('run_queued', { run_id: runId, position })
    tools.engine.launch()
  })
}
