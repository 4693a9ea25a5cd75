import type { Attributes } from '@opentelemetry/api'
import { attributes } from '../context/attributes.ts'
import { createHistogram } from '../context/instruments.ts'
import { metricDefinitions } from '../context/metric-definitions.ts'
import { ThreadlineError, toPublicError } from '../errors.ts'
import type { Emitter } from '../emitter/emitter.ts'
import { redact } from '../emitter/redact.ts'
import type { RunStep } from '../stores/run-step.ts'
import type { Tool } from './define-tool.ts'
import { performTool, shownName, type PerformOptions, type ToolCallRequest, type ToolOutcome } from './perform-tool.ts'

export interface ToolRequest extends ToolCallRequest {
  /** Stored with its announcement. */
  readonly step?: RunStep | undefined
}

/** What came of a call, as a step of its run: the whole of it, where the event shows what may be shown, unless it is too large to be kept. */
export interface ToolRecord {
  readonly tool: string
  readonly outcome: ToolOutcome
}

export const toolKeyOf = (toolCallId: string): string => `tool:${toolCallId}`

/**
 * Runs the tools of one run. Each `dispatch` tells one `tool_executing` and exactly one `tool_completed`, also for an unknown, denied,
 * failing or stuck tool and in an aborted run, and never throws but for a failing emitter. One that was announced by an earlier attempt is
 * told as completed only, and run again unless the tool is not repeatable. What came of it is stored with its `tool_completed`. The tool runs as a child request of
 * the run. One that does not end when its signal is aborted is abandoned: its late result is discarded.
 */
export interface Dispatcher {
  dispatch (request: ToolRequest): Promise<ToolOutcome>
  /** Resolves when every call has told its `tool_completed`, or failed to. */
  settled (): Promise<void>
}

export interface DispatcherOptions extends PerformOptions {
  /** The agent that asks for them. */
  readonly agentName: string
  readonly tools: readonly Tool[]
  readonly emitter: Emitter
}

const toolDuration = createHistogram(metricDefinitions.toolDuration)

export function createDispatcher (options: DispatcherOptions): Dispatcher {
  const { agentName, emitter } = options
  const tools = new Map(options.tools.map((tool) => [tool.name, tool]))
  const running = new Set<Promise<ToolOutcome>>()

  async function tell (request: ToolRequest): Promise<ToolOutcome> {
    const tool = tools.get(request.name)
    const shown = { tool_call_id: request.toolCallId, tool: shownName(request.name) }
    if (request.announced !== true) await emitter.emit('tool_executing', { ...shown, parameters: redact(request.input) }, { step: request.step })
    const startedAt = performance.now()
    const outcome = await performTool(tool, request, options)
    const ending = outcome.success ? { result: redact(outcome.result) } : { error: outcome.error }
    const durationMs = Math.round(performance.now() - startedAt)
    toolDuration.record((performance.now() - startedAt) / 1_000, labelsOf(tool, outcome, agentName))
    const body: ToolRecord = { tool: shown.tool, outcome: kept(outcome) }
    const step = { key: toolKeyOf(request.toolCallId), body }
    await emitter.emit('tool_completed', { ...shown, success: outcome.success, duration_ms: durationMs, ...ending }, { step })
    return outcome
  }

  return {
    async dispatch (request) {
      const outcome = tell(request)
      running.add(outcome)
      try {
        return await outcome
      } finally {
        running.delete(outcome)
      }
    },
    async settled () { await Promise.allSettled(running) }
  }
}

/** A model may ask for a tool of any name: only those that there are have a label of their own. */
function labelsOf (tool: Tool | undefined, outcome: ToolOutcome, agentName: string): Attributes {
  return {
    [attributes.toolName]: tool?.name ?? '_OTHER',
    [attributes.toolType]: 'function',
    [attributes.agentName]: agentName,
    ...(outcome.success ? {} : { [attributes.errorType]: outcome.error.code })
  }
}

/** The longest outcome that is stored for a later attempt, in characters of JSON: steps are written together with the events of everybody. */
const maxKeptCharacters = 1_000_000

/** What a later attempt of the run is given for the outcome. */
function kept (outcome: ToolOutcome): ToolOutcome {
  if (JSON.stringify(outcome).length <= maxKeptCharacters) return outcome
  return { success: false, error: toPublicError(new ThreadlineError('THREADLINE_TOOL_INTERRUPTED', 'The result of the tool was too large to be kept')) }
}
