import { jsonSchema, streamText, tool as aiTool, type ModelMessage, type TextStreamPart, type ToolContent, type ToolSet } from 'ai'
import type { ReadyModelAgent } from '../agents/agent-registry.ts'
import { bindIterable } from '../context/bind.ts'
import { ThreadlineError } from '../errors.ts'
import type { AgentAnswer, StepLimits, StepTask } from './agent-task.ts'
import { withChatSpan } from './chat-span.ts'
import { performCall } from './perform-call.ts'
import { RunStopped } from './run-outcome.ts'
import type { ModelStep, ModelToolCall } from './run-steps.ts'

type ModelTask = StepTask<ReadyModelAgent>

/**
 * Lets a language model answer. One call of the AI SDK is one step; the tools that it asks for are run between the steps, in the run's own
 * stack, so that identity, events and limits are the dispatcher's alone. In the last permitted step the model may not ask for tools. A step that an
 * earlier attempt of the run has stored is not asked for again.
 * Throws the model's failure as a `ThreadlineError`, the signal's reason when it is aborted, and `RunStopped` when a single call took too
 * long.
 */
export async function runModelAgent (task: ModelTask, limits: StepLimits): Promise<void> {
  const { agent, history, content, emitter, steps, path } = task
  const messages: ModelMessage[] = [...history, { role: 'user', content }]
  const stepLimit = agent.limits.steps ?? limits.stepLimit
  const timeoutMs = agent.limits.stepTimeoutMs ?? limits.stepTimeoutMs
  for (let step = 1; step <= stepLimit; step += 1) {
    const recorded = steps.model(path, step)
    if (recorded !== undefined) tellAgain(recorded, step, task)
    else if (step > 1) await emitter.emit('agent_thinking', { message: 'Reading what the tools found', step })
    const said = recorded ?? await callModel(task, messages, { step, isLast: step === stepLimit, timeoutMs })
    const results = await runTools(said, recorded === undefined ? step : undefined, task)
    if (said.finishReason !== 'tool-calls') return
    messages.push(...said.messages)
    if (results.length > 0) messages.push({ role: 'tool', content: results })
    task.signal.throwIfAborted() // stopped in a tool: nobody reads what it found
  }
}

/** What clients were told of the step is void. */
function tellAgain ({ text }: ModelStep, step: number, { emitter, answer }: ModelTask): void {
  answer.text += text
  emitter.delta(text, step)
}

interface StepOptions { readonly step: number, readonly isLast: boolean, readonly timeoutMs: number }

async function callModel (task: ModelTask, messages: readonly ModelMessage[], { step, isLast, timeoutMs }: StepOptions): Promise<ModelStep> {
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
    const said = await consume(bindIterable(result.stream), { ...task, signal }, step)
    return { ...said, messages: await result.responseMessages }
  } catch (error) {
    throw signal.aborted ? signal.reason : agent.toModelError(error)
  } finally {
    clearTimeout(timer)
    ended.abort() // leaving a stream does not stop the model
  }
}

async function consume (stream: AsyncIterable<TextStreamPart<ToolSet>>, task: ModelTask, step: number): Promise<Omit<ModelStep, 'messages'>> {
  const { steps, emitter, answer, signal } = task
  const calls: ModelToolCall[] = []
  const usage: AgentAnswer['usage'] = { input_tokens: 0, output_tokens: 0 }
  let text = ''
  let finishReason = 'interrupted'
  for await (const part of stream) {
    switch (part.type) {
      case 'text-delta':
        text += part.text
        answer.text += part.text
        emitter.delta(part.text, step)
        break
      case 'tool-call':
        // The provider's id only ties call and result together for the model: some providers give one twice.
        calls.push({
          toolCallId: steps.nextCallId(), providerCallId: part.toolCallId, name: part.toolName, input: part.input, invalid: part.invalid === true
        })
        break
      case 'finish-step':
        usage.model = part.response.modelId
        answer.usage.model = usage.model
        break
      case 'finish':
        finishReason = part.finishReason
        usage.input_tokens = part.totalUsage.inputTokens ?? 0
        usage.output_tokens = part.totalUsage.outputTokens ?? 0
        answer.usage.input_tokens += usage.input_tokens
        answer.usage.output_tokens += usage.output_tokens
        break
      case 'error': throw part.error
      default: // the other parts frame these, or belong to features that no agent of ours uses
    }
  }
  signal.throwIfAborted()
  if (broken.includes(finishReason)) throw new ThreadlineError('THREADLINE_MODEL_FAILED', 'The model stopped in the middle of its answer')
  return { calls, text, finishReason, usage }
}

/** How a stream ends that has not come to its end. */
const broken = ['error', 'interrupted', 'other']

/**
 * Makes the calls of a step, all at once. The step is stored with the first of them, under its number where it is not stored already. A call
 * of a tool that the agent does not have is told to the client; the SDK has told the model so.
 */
async function runTools (said: ModelStep, step: number | undefined, task: ModelTask): Promise<ToolContent> {
  const calls = said.finishReason === 'tool-calls' ? said.calls : said.calls.filter(({ invalid }) => invalid)
  const record = step === undefined ? undefined : task.steps.recordModel(task.path, step, said)
  const results = await Promise.all(calls.map(async ({ toolCallId, name, input, providerCallId, invalid }, index) => {
    const outcome = await performCall({ toolCallId, name, input, step: index === 0 ? record : undefined }, task)
    if (invalid) return []
    const output = outcome.success
      ? { type: 'text', value: JSON.stringify(outcome.result) } as const
      : { type: 'error-text', value: `${outcome.error.code}: ${outcome.error.message}` } as const
    return [{ type: 'tool-result', toolCallId: providerCallId, toolName: name, output } as const]
  }))
  return results.flat()
}

/** The tools as the model sees them. Their input is checked by the dispatcher, so that the client sees a refusal. */
function schemasOf (agent: ReadyModelAgent): ToolSet {
  return Object.fromEntries(agent.tools.map(({ name, description, input }) => [
    name, aiTool({ description, inputSchema: jsonSchema(input) })
  ]))
}
