import { acceptRun, storingMessage } from './accept-run.ts'
import type { Handler } from './handler.ts'

/** Starts a named agent on an input, which becomes the user's message. `run_created` is told once both are durable. */
export const startAgent: Handler<'start_agent'> = async ({ id, payload }, connection, tools) => {
  const { agent, input, context = {} } = payload
  const store = storingMessage({ clientId: id, content: input, agent, metadata: context }, 'enqueue', tools)

  await acceptRun({ strategy: 'enqueue', answer: 'run_created', leavesBranch: false, store }, connection, tools)
}
