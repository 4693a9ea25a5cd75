import type { ToolRequest } from '../tools/dispatcher.ts'
import type { ToolOutcome } from '../tools/perform-tool.ts'
import type { StepTask } from './agent-task.ts'

/**
 * Makes a tool call, unless an earlier attempt has its outcome: that is used, and nothing is told. One that an earlier attempt has only
 * begun is made again under its own id, and told as completed.
 */
export async function performCall (request: ToolRequest, { steps, dispatcher }: Pick<StepTask, 'steps' | 'dispatcher'>): Promise<ToolOutcome> {
  const { toolCallId } = request
  const recorded = steps.outcome(toolCallId)
  if (recorded !== undefined) return recorded
  return await dispatcher.dispatch(steps.isOpen(toolCallId) ? { ...request, announced: true } : request)
}
