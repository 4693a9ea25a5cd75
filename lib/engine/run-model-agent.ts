import { jsonSchema, streamText, tool as aiTool, type ModelMessage, type TextStreamPart, type ToolContent, type ToolSet } from 'ai'
import type { ReadyModelAgent } from '../agents/agent-registry.ts'
import { bindIterable } from '../context/bind.ts'
import { ThreadlineError } from '../errors.ts'
import type { ToolRequest } from '../tools/dispatcher.ts'
import type { StepLimits, StepTask } from './agent-task.ts'
import { withChatSpan } from './chat-span.ts'
import { RunStopped } from './run-outcome.ts'

type ModelTask = StepTask<ReadyModelAgent>

type ProviderCall = ToolRequest & { readonly providerCallId: string }

/** What one call of the model said that the next one has to know. */
interface Step {
  readonly messages: readonly ModelMessage[]
  readonly calls: readonly ProviderCall[]
  readonly finishReason: string
}

/**
 * Lets a language model answer. One call of the AI SDK is one step; the tools that it asks for are run between the steps, in the run's own
 * stack, so that identity, events and limits are the dispatcher's alone. In the last permitted step the model may not ask for tools.
 * Throws the model's failure as a `ThreadlineError`, the signal's reason when it is aborted, and `RunStopped` when a single call took too
 * long.
 */
export async function runModelAgent (task: ModelTask, limits: StepLimits): Promise<void> {
  const { agent, history, content, emitter } = task
  const messages: ModelMessage[] = [...history, { role: 'user', content }]
  const stepLimit = agent.limits.steps ?? limits.stepLimit
  const timeoutMs = agent.limits.stepTimeoutMs ?? limits.stepTimeoutMs
  for (let step = 1; step <= stepLimit; step += 1) {
    if (step > 1) await emitter.emit('agent_thinking', { message: 'Reading what the tools found', step })
    const said = await callModel(task, messages, { step, isLast: step === stepLimit, timeoutMs })
    if (said.finishReason !== 'tool-calls') return
    messages.push(...said.messages)
    if (said.calls.length > 0) messages.push({ role: 'tool', content: await runTools(said.calls, task) })
    task.signal.throwIfAborted() // stopped in a tool: nobody reads what it found
  }
}

interface StepOptions { readonly step: number, readonly isLast: boolean, readonly timeoutMs: number }

async function callModel (task: ModelTask, messages: readonly ModelMessage[], { step, isLast, timeoutMs }: StepOptions): Promise<Step> {
  const { agent } = task
  const ended = new AbortController()
  const timer = setTimeout(() => { ended.abort(new RunStopped('step_timed_out')) }, timeoutMs)
  const signal = AbortSignal.any([task.signal, ended.signal])
  const result = streamText({
    model: withChatSpan(agent.model),
    instructions: agent.instructions,
    messages: [...messages],
    tools: schemasOf(agent),
    ...(isLast ? { toolChoice: 'none' as const } : {}),
    abortSignal: signal,
    telemetry: { isEnabled: false },
    onError: () => {} // the stream has the error too, and there it is handled
  })
  try {
    const { calls, finishReason } = await consume(bindIterable(result.stream), { ...task, signal }, step)
    return { calls, finishReason, messages: await result.responseMessages }
  } catch (error) {
    throw signal.aborted ? signal.reason : agent.toModelError(error)
  } finally {
    clearTimeout(timer)
    ended.abort() // leaving a stream does not stop the model
  }
}

async function consume (stream: AsyncIterable<TextStreamPart<ToolSet>>, task: ModelTask, step: number): Promise<Omit<Step, 'messages'>> {
  const { dispatcher, emitter, answer, signal } = task
  const calls: ProviderCall[] = []
  let finishReason = 'interrupted'
  for await (const part of stream) {
    switch (part.type) {
      case 'text-delta':
        answer.text += part.text
        emitter.delta(part.text, step)
        break
      case 'tool-call': {
        // The provider's id only ties call and result together for the model: some providers give one twice.
        const call = { toolCallId: task.nextCallId(), providerCallId: part.toolCallId, name: part.toolName, input: part.input }
        // A tool that the agent does not have: the SDK has told the model so, and the dispatcher tells the client.
        if (part.invalid === true) await dispatcher.dispatch(call)
        else calls.push(call)
        break
      }
      case 'finish-step':
        answer.usage.model = part.response.modelId
        break
      case 'finish':
        finishReason = part.finishReason
        answer.usage.input_tokens += part.totalUsage.inputTokens ?? 0
        answer.usage.output_tokens += part.totalUsage.outputTokens ?? 0
        break
      case 'error': throw part.error
      default: // the other parts frame these, or belong to features that no agent of ours uses
    }
  }
  signal.throwIfAborted()
  if (broken.includes(finishReason)) throw new ThreadlineError('THREADLINE_MODEL_FAILED', 'The model stopped in the middle of its answer')
  return { calls, finishReason }
}

/** How a stream ends that has not come to its end. */
const broken = ['error', 'interrupted', 'other']

async function runTools (calls: readonly ProviderCall[], { dispatcher }: ModelTask): Promise<ToolContent> {
  return await Promise.all(calls.map(async (call) => {
    const outcome = await dispatcher.dispatch(call)
    const output = outcome.success
      ? { type: 'text', value: JSON.stringify(outcome.result) } as const
      : { type: 'error-text', value: `${outcome.error.code}: ${outcome.error.message}` } as const
    return { type: 'tool-result', toolCallId: call.providerCallId, toolName: call.name, output } as const
  }))
}

/** The tools as the model sees them. Their input is checked by the dispatcher, so that the client sees a refusal. */
function schemasOf (agent: ReadyModelAgent): ToolSet {
  return Object.fromEntries(agent.tools.map(({ name, description, input }) => [
    name, aiTool({ description, inputSchema: jsonSchema(input) })
  ]))
}
