import type { ReadyPipeline } from '../agents/agent-registry.ts'
import type { AgentInput, AgentOutput, CodeAgent } from '../agents/define-agent.ts'
import { bindIterable } from '../context/bind.ts'
import { childRequest } from '../context/child-request.ts'
import { guard } from '../context/guard.ts'
import type { Tool } from '../tools/define-tool.ts'
import { createDispatcher, type Dispatcher } from '../tools/dispatcher.ts'
import type { AgentTask, StepLimits, StepTask } from './agent-task.ts'
import { runModelAgent } from './run-model-agent.ts'

/**
 * Runs an agent of any kind for the active run; its text is told and kept in `task.answer`. Throws what the agent or its model
 * throws, and `THREADLINE_CONTEXT_MISMATCH` when the instance was made for another run.
 */
export async function runAgent (task: AgentTask, limits: StepLimits): Promise<void> {
  const { instance, ...rest } = task
  guard(instance.identity, 'engine')
  await runStep({ ...rest, agent: instance.agent }, limits)
}

async function runStep (task: Omit<StepTask, 'dispatcher'>, limits: StepLimits): Promise<void> {
  const { agent } = task
  const dispatcher = dispatcherOf(agent.tools, task, limits)
  try {
    switch (agent.kind) {
      case 'model': return await runModelAgent({ ...task, agent, dispatcher }, limits)
      case 'code': return await runCodeAgent({ ...task, agent, dispatcher })
      case 'pipeline': return await runPipeline({ ...task, agent }, limits)
    }
  } finally {
    await dispatcher.settled()
  }
}

function dispatcherOf (tools: readonly Tool[], task: Pick<StepTask, 'emitter' | 'signal'>, limits: StepLimits): Dispatcher {
  const { emitter, signal } = task
  return createDispatcher({ tools, emitter, signal, defaultTimeoutMs: limits.toolTimeoutMs, logger: limits.logger })
}

async function runCodeAgent (task: StepTask & { agent: { run: CodeAgent['run'] } }): Promise<void> {
  const { agent, dispatcher, signal, content, history, context } = task
  let calls = 0
  const input: AgentInput = {
    content,
    history,
    context,
    signal,
    callTool: async (name, parameters) => {
      calls += 1
      return await dispatcher.dispatch({ toolCallId: `call-${calls}`, name, input: parameters })
    }
  }
  for await (const output of bindIterable(agent.run(input))) {
    signal.throwIfAborted()
    await tell(output, task)
  }
}

async function tell (output: AgentOutput, { emitter, answer }: Pick<StepTask, 'emitter' | 'answer'>): Promise<void> {
  if (output.type === 'thinking') {
    await emitter.emit('agent_thinking', { message: output.message, step: 0 })
    return
  }
  answer.text += output.text
  emitter.delta(output.text, 0)
}

/** Each step is a child request of the run, and is given the answer of the one before. The last answer is the run's. */
async function runPipeline (task: Omit<StepTask, 'dispatcher'> & { agent: ReadyPipeline }, limits: StepLimits): Promise<void> {
  let content = task.content
  for (const { agent, continueOnError } of task.agent.steps) {
    task.signal.throwIfAborted()
    task.answer.text = ''
    try {
      await childRequest(agent.name, async () => { await runStep({ ...task, agent, content }, limits) })
      content = task.answer.text
    } catch (err) {
      if (continueOnError !== true || task.signal.aborted) throw err
      limits.logger.warn({ err, agent: agent.name }, 'a step of a pipeline failed, and the next one goes on')
    }
  }
}
