import { jsonSchema, stepCountIs, streamText, tool as aiTool, type ToolSet } from 'ai'
import type { ReadyModelAgent } from '../agents/agent-registry.ts'
import { bindIterable, bindThread } from '../context/bind.ts'
import type { Dispatcher, ToolOutcome } from '../tools/dispatcher.ts'
import { withChatSpan } from './chat-span.ts'
import type { AgentLimits, StepTask } from './run-agent.ts'

/**
 * Lets a language model answer: the loop of model calls and tool calls is the AI SDK's; identity, events, limits and tools are ours.
 * Tools and stream are bound, because the SDK calls the ones from its own stream machinery and is pulled through the other.
 * Throws the model's failure as a `ThreadlineError`, and the signal's reason when it is aborted.
 */
export async function runModelAgent (task: StepTask<ReadyModelAgent>, limits: AgentLimits): Promise<void> {
  const { agent, dispatcher, signal, history, content } = task
  const { stream } = streamText({
    model: withChatSpan(agent.model),
    instructions: agent.instructions,
    messages: [...history, { role: 'user', content }],
    tools: toolsOf(agent, dispatcher),
    stopWhen: stepCountIs(agent.limits.steps ?? limits.stepLimit),
    abortSignal: signal,
    telemetry: { isEnabled: false },
    onError: () => {} // the stream has the error too, and there it is handled
  })
  await consume(bindIterable(stream), task)
}

type Parts = ReturnType<typeof streamText>['stream']

async function consume (parts: AsyncIterable<Parts extends AsyncIterable<infer Part> ? Part : never>, task: StepTask<ReadyModelAgent>): Promise<void> {
  const { agent, dispatcher, emitter, answer, signal } = task
  let step = 0
  for await (const part of parts) {
    switch (part.type) {
      case 'start-step':
        step += 1
        if (step > 1) await emitter.emit('agent_thinking', { message: 'Reading what the tools found', step })
        break
      case 'text-delta':
        answer.text += part.text
        emitter.delta(part.text, step)
        break
      case 'tool-call':
        // A tool that the agent does not have: the SDK tells the model so, and the dispatcher the client.
        if (part.invalid === true) await dispatcher.dispatch({ toolCallId: part.toolCallId, name: part.toolName, input: part.input })
        break
      case 'finish':
        answer.usage.input_tokens += part.totalUsage.inputTokens ?? 0
        answer.usage.output_tokens += part.totalUsage.outputTokens ?? 0
        break
      case 'error': throw signal.aborted ? signal.reason : agent.toModelError(part.error)
      default: // the other parts frame these, or belong to features that no agent of ours uses
    }
  }
  signal.throwIfAborted()
}

function toolsOf (agent: ReadyModelAgent, dispatcher: Dispatcher): ToolSet {
  return Object.fromEntries(agent.tools.map((tool) => [tool.name, aiTool({
    description: tool.description,
    inputSchema: jsonSchema(tool.input), // checked by the dispatcher, so that the client sees a refusal
    execute: bindThread(async (input: unknown, { toolCallId }: { toolCallId: string }): Promise<ToolOutcome> => {
      return await dispatcher.dispatch({ toolCallId, name: tool.name, input })
    })
  })]))
}
