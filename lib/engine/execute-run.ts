import { SpanStatusCode, type Span } from '@opentelemetry/api'
import type { AgentInstance, AgentRegistry } from '../agents/agent-registry.ts'
import type { ConversationMessage } from '../agents/define-agent.ts'
import { attributes } from '../context/attributes.ts'
import { bindThread } from '../context/bind.ts'
import { guard } from '../context/guard.ts'
import { withHop } from '../context/hop.ts'
import type { Logger } from '../context/logger.ts'
import { onLeave, withScope } from '../context/scope.ts'
import { createEmitter, type Emitter } from '../emitter/emitter.ts'
import { isThreadlineError, ThreadlineError, toPublicError } from '../errors.ts'
import type { EventLog } from '../events/event-log.ts'
import type { PayloadOf } from '../protocol/events.ts'
import { newMessageId } from '../protocol/ids.ts'
import type { MessageStore } from '../stores/message-store.ts'
import type { RunRecord } from '../stores/run-record.ts'
import type { AgentAnswer, AgentTask } from './agent-task.ts'
import type { EndedRun } from './ended-runs.ts'
import { runAgent } from './run-agent.ts'
import { measureAgent, measureStart } from './run-metrics.ts'
import { endingOfError, RunStopped, type StopReason } from './run-outcome.ts'
import { readPast, type PastOptions, type RunPast } from './run-past.ts'
import { RunSteps } from './run-steps.ts'
import type { Slots } from './slots.ts'

export interface ExecutionOptions extends PastOptions {
  readonly agents: AgentRegistry
  readonly messages: MessageStore
  readonly log: EventLog
  readonly slots: Slots
  readonly logger: Logger
  readonly runTimeoutMs: number
  readonly stepTimeoutMs: number
  readonly toolTimeoutMs: number
  readonly stepLimit: number
  /** How long a run waits for a slot in silence. */
  readonly waitNoticeMs: number
}

const historyLimit = 50
const rolledBack: StopReason = 'rolled_back'

/**
 * Executes a claimed run to its end, in the context of that run: `agent_started` first, one `agent_completed` last, whatever
 * happens between them. A run that an earlier attempt has begun goes on, after `agent_resumed`, from what that has stored. `stopping` stops it, whoever aborts it. Undefined when somebody else has ended the run, or taken it over, or its
 * thread is gone: as soon as the log refuses an event, the run is aborted, and tells nothing more. Throws `THREADLINE_CONTEXT_MISMATCH`, before
 * any event, when the active identity is not the run's; else only when the end itself cannot be stored, or what an earlier attempt has left
 * cannot be read; and `THREADLINE_STORAGE_UNAVAILABLE` when the storage is away in the middle: that is no end of a run, which goes on from its
 * steps when the storage is back.
 */
export async function executeRun (run: RunRecord, stopping: AbortController, options: ExecutionOptions): Promise<EndedRun | undefined> {
  guard(run, 'engine')
  const claimedAt = performance.now()
  return await withScope(async () => {
    const controller = followHere(stopping.signal)
    const lost: { error?: ThreadlineError } = {}
    const refused = (error: ThreadlineError): void => {
      lost.error ??= error
      controller.abort(error)
    }
    const past = await readPast(run, options)
    const openTools = past.openTools.map(({ toolCallId }) => toolCallId)
    const emitter = createEmitter({ log: options.log, attempt: run.attempt, agentName: run.agent, begun: past.begun, openTools, refused })
    const steps = new RunSteps(run.attempt, past)
    const answer = { text: '', usage: { ...steps.spent } }
    const task: RunTask = { run, past, steps, claimedAt, emitter, controller, answer, messagesBefore: 0 }
    const ending = await endingOf(task, options)
    const completed = { ...ending, ...contentOf(task.answer, ending) }
    try {
      if (lost.error === undefined) await closeTools(task)
      if (lost.error === undefined) await emitter.emit('agent_completed', completed)
    } catch (err) {
      if (lost.error === undefined) throw err
    }
    if (lost.error !== undefined) {
      options.logger.info({ code: lost.error.code }, 'a run was ended by somebody else')
      return undefined
    }
    const { status, content } = completed
    const durationMs = performance.now() - claimedAt
    return { run, status, durationMs, messagesBefore: task.messagesBefore, ...(content === undefined ? {} : { content }) }
  })
}

type Ending = PayloadOf<'agent_completed'>

interface RunTask extends Pick<AgentTask, 'emitter' | 'answer' | 'steps'> {
  readonly run: RunRecord
  readonly past: RunPast
  /** In ms, by `performance.now()`. */
  readonly claimedAt: number
  readonly controller: AbortController
  messagesBefore: number
}

async function endingOf (task: RunTask, options: ExecutionOptions): Promise<Ending> {
  const { agent: agentName, attempt } = task.run
  try {
    const instance = options.agents.create(agentName)
    const name = `invoke_agent ${agentName}`
    const spanAttributes = { [attributes.operation]: 'invoke_agent', [attributes.agentName]: agentName, [attributes.runAttempt]: attempt }
    const invokedAt = performance.now()
    return await withHop('engine', { name, attributes: spanAttributes }, async (span) => {
      const ending = await work(task, instance, options)
      markEnding(span, ending)
      measureAgent(agentName, performance.now() - invokedAt, ending.error?.code)
      return ending
    })
  } catch (err) {
    if (isInterrupted(err, task.controller.signal)) throw err
    options.logger.warn({ err }, 'a run could not be started')
    return endingOfError(err, task.controller.signal)
  }
}

async function work (task: RunTask, instance: AgentInstance, options: ExecutionOptions): Promise<Ending> {
  const { run, past, emitter, answer, steps, controller } = task
  const { signal } = controller
  const timeoutMs = instance.agent.limits.runTimeoutMs ?? options.runTimeoutMs
  const stopWaiting = limitTime(controller, timeoutMs)
  try {
    if (past.begun) await emitter.emit('agent_resumed', { attempt: run.attempt })
    else await emitter.emit('agent_started', { agent: run.agent, message_id: run.messageId, input: run.input })
    onLeave(await waitForSlot(signal, emitter, options))
    stopWaiting()
    if (!past.begun) measureStart(run, task.claimedAt)
    limitTime(controller, timeoutMs)
    await emitter.emit('agent_thinking', { message: 'Reading the message', step: 0 })
    const history = await historyOf(run, options)
    task.messagesBefore = history.length
    await runAgent({ instance, emitter, answer, steps, signal, content: run.input, history, context: run.context }, options)
    signal.throwIfAborted()
    await emitter.flush()
    return { status: 'completed', usage: answer.usage }
  } catch (err) {
    if (isInterrupted(err, signal)) throw err
    const ending = endingOfError(err, signal)
    if (ending.status === 'failed') options.logger.warn({ err, reason: ending.reason }, 'a run failed')
    await emitter.flush().catch(() => undefined) // the run fails already, for the first reason
    return { ...ending, ...usageOf(answer) }
  }
}

/** Nobody has stopped the run, and nothing in it has failed: what it says cannot be stored, or what it needs cannot be read, for now. */
function isInterrupted (error: unknown, signal: AbortSignal): boolean {
  return !signal.aborted && isThreadlineError(error, 'THREADLINE_STORAGE_UNAVAILABLE')
}

/** Tools that an earlier attempt has announced and this one has not come to: another answer of the model, or the run has ended before. */
async function closeTools ({ past, emitter }: RunTask): Promise<void> {
  const open = new Set(emitter.openTools)
  for (const { toolCallId, tool } of past.openTools) {
    if (!open.has(toolCallId)) continue
    const error = toPublicError(new ThreadlineError('THREADLINE_TOOL_INTERRUPTED'))
    await emitter.emit('tool_completed', { tool_call_id: toolCallId, tool, success: false, duration_ms: 0, error })
  }
}

/**
 * A controller that is aborted with a signal, and whose own signal's listeners are called in the context that is active now: a run is
 * stopped by others, and what stops with it, an agent's tools too, goes on in the run's own identity.
 */
function followHere (signal: AbortSignal): AbortController {
  const controller = new AbortController()
  const abort = bindThread(() => { controller.abort(signal.reason) })
  if (signal.aborted) abort()
  signal.addEventListener('abort', abort, { once: true })
  onLeave(() => { signal.removeEventListener('abort', abort) })
  return controller
}

/** Aborts the run at its time limit, once for the wait and once for the work. The timer is the run's own, and ends with its scope. */
function limitTime (controller: AbortController, timeoutMs: number): () => void {
  const timer = setTimeout(() => { controller.abort(new RunStopped('timed_out')) }, timeoutMs)
  const stop = (): void => { clearTimeout(timer) }
  onLeave(stop)
  return stop
}

async function waitForSlot (signal: AbortSignal, emitter: Emitter, { slots, waitNoticeMs, logger }: ExecutionOptions): Promise<() => void> {
  const tell = bindThread(() => {
    emitter.emit('agent_thinking', { message: 'Waiting for a free place', step: 0 })
      .catch((err: unknown) => { logger.warn({ err }, 'a waiting run could not say so') })
  })
  const notice = setTimeout(tell, waitNoticeMs)
  try {
    return await slots.acquire(signal)
  } finally {
    clearTimeout(notice)
  }
}

/** The thread before this message. What was said after it waits for its own run. */
async function historyOf (run: RunRecord, { messages }: ExecutionOptions): Promise<readonly ConversationMessage[]> {
  const page = await messages.history(run.threadId, { limit: historyLimit, before: run.messageId })
  return page.messages.map(({ role, content }) => ({ role, content }))
}

/** What was answered so far is kept, also when the run was stopped or failed; but not with a message that is removed. */
function contentOf (answer: AgentAnswer, { reason }: Ending): Pick<Ending, 'message_id' | 'content'> {
  return answer.text === '' || reason === rolledBack ? {} : { message_id: newMessageId(), content: answer.text }
}

/** What models have counted before the run was stopped or failed. */
function usageOf ({ usage }: AgentAnswer): Pick<Ending, 'usage'> {
  return usage.model === undefined ? {} : { usage }
}

function markEnding (span: Span, ending: Ending): void {
  span.setAttribute(attributes.runStatus, ending.status)
  span.setAttribute(attributes.inputTokens, ending.usage?.input_tokens ?? 0)
  span.setAttribute(attributes.outputTokens, ending.usage?.output_tokens ?? 0)
  if (ending.error === undefined) return
  span.setAttribute(attributes.errorType, ending.error.code)
  span.setStatus({ code: SpanStatusCode.ERROR, message: ending.error.message })
}
