import type { ReadyAgent, ReadyPipeline } from '../agents/agent-registry.ts'
import type { AgentInput, AgentOutput, CodeAgent } from '../agents/define-agent.ts'
import { bindIterable } from '../context/bind.ts'
import { childRequest } from '../context/child-request.ts'
import { guard } from '../context/guard.ts'
import { ThreadlineError } from '../errors.ts'
import { createDispatcher, type Dispatcher } from '../tools/dispatcher.ts'
import type { ToolOutcome } from '../tools/perform-tool.ts'
import { untilAborted } from '../tools/until-aborted.ts'
import type { AgentTask, StepLimits, StepTask } from './agent-task.ts'
import { performCall } from './perform-call.ts'
import { runModelAgent } from './run-model-agent.ts'
import type { Stage } from './run-steps.ts'

/**
 * Runs an agent of any kind for the active run; its text is told and kept in `task.answer`. Throws what the agent or its model
 * throws, the signal's reason as soon as it is aborted, and `THREADLINE_CONTEXT_MISMATCH` when the instance was made for another run. An agent
 * that does not heed its signal is abandoned: nothing that it says or asks for later is told or done. What an earlier attempt of the run has
 * stored is not done again: its text is told again, its tools' outcomes are given to the agent in silence.
 */
export async function runAgent (task: AgentTask, limits: StepLimits): Promise<void> {
  const { instance, ...rest } = task
  guard(instance.identity, 'engine')
  await runStep({ ...rest, agent: instance.agent, path: instance.agent.name }, limits)
}

async function runStep (task: Omit<StepTask, 'dispatcher'>, limits: StepLimits): Promise<void> {
  const { agent } = task
  const dispatcher = dispatcherOf(agent, task, limits)
  try {
    switch (agent.kind) {
      case 'model': return await runModelAgent({ ...task, agent, dispatcher }, limits)
      case 'code': return await untilAborted(task.signal, () => runCodeAgent({ ...task, agent, dispatcher }))
      case 'pipeline': return await runPipeline({ ...task, agent }, limits)
    }
  } finally {
    await dispatcher.settled()
  }
}

function dispatcherOf ({ name: agentName, tools }: ReadyAgent, task: Pick<StepTask, 'emitter' | 'signal'>, limits: StepLimits): Dispatcher {
  const { emitter, signal } = task
  return createDispatcher({ agentName, tools, emitter, signal, defaultTimeoutMs: limits.toolTimeoutMs, logger: limits.logger })
}

async function runCodeAgent (task: StepTask & { agent: { run: CodeAgent['run'] } }): Promise<void> {
  const { agent, steps, path, signal, content, history, context } = task
  let ended = false
  const call = async (name: string, input: unknown): Promise<ToolOutcome> => {
    signal.throwIfAborted()
    // It would still be open when the run tells its end.
    if (ended) throw new ThreadlineError('THREADLINE_CONFLICT', 'The agent has ended')
    return await performCall(steps.codeCall(path, name, input), task)
  }
  const callTool: AgentInput['callTool'] = (name, input) => {
    const outcome = call(name, input)
    outcome.catch(() => undefined) // an agent may leave a call alone, and that must not end the process
    return outcome
  }
  try {
    for await (const output of bindIterable(agent.run({ content, history, context, signal, callTool }))) {
      signal.throwIfAborted()
      await tell(output, task)
    }
  } finally {
    ended = true
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

/** Each stage is a child request of the run, and is given the answer of the one before. The last answer is the run's. */
async function runPipeline (task: Omit<StepTask, 'dispatcher'> & { agent: ReadyPipeline }, limits: StepLimits): Promise<void> {
  const { agent: { steps: stages }, emitter, steps, signal, answer } = task
  let content = task.content
  for (const [index, { agent, continueOnError }] of stages.entries()) {
    signal.throwIfAborted()
    const path = `${task.path}/${index + 1}-${agent.name}`
    const recorded = steps.stage(path)
    const failed = recorded === undefined
      ? await runStage({ ...task, agent, path, content }, continueOnError === true, limits)
      : tellStageAgain(recorded, task)
    if (!failed) content = answer.text
    const next = stages[index + 1]
    if (recorded !== undefined || next === undefined) continue
    const step = steps.recordStage(path, { text: answer.text, failed, usage: answer.usage })
    await emitter.emit('agent_thinking', { message: `Handing on to ${next.agent.name}`, step: 0 }, { step })
  }
}

/** Whether it failed, where the pipeline goes on all the same. */
async function runStage (task: Omit<StepTask, 'dispatcher'>, continueOnError: boolean, limits: StepLimits): Promise<boolean> {
  const { agent, answer, signal } = task
  answer.text = ''
  try {
    await childRequest(agent.name, async () => { await runStep(task, limits) })
    return false
  } catch (err) {
    if (!continueOnError || signal.aborted) throw err
    limits.logger.warn({ err, agent: agent.name }, 'a step of a pipeline failed, and the next one goes on')
    return true
  }
}

function tellStageAgain ({ text, failed }: Stage, { emitter, answer }: Pick<StepTask, 'emitter' | 'answer'>): boolean {
  answer.text = text
  emitter.delta(text, 0)
  return failed
}
