import type { Attributes } from '@opentelemetry/api'
import { Compile, type Validator } from 'typebox/compile'
import { attributes } from '../context/attributes.ts'
import { childRequest } from '../context/child-request.ts'
import { currentRun } from '../context/current-thread.ts'
import { withHop } from '../context/hop.ts'
import { createHistogram } from '../context/instruments.ts'
import type { Logger } from '../context/logger.ts'
import { metricDefinitions } from '../context/metric-definitions.ts'
import { isThreadlineError, ThreadlineError, toPublicError } from '../errors.ts'
import type { Emitter } from '../emitter/emitter.ts'
import { redact } from '../emitter/redact.ts'
import { toJson } from '../emitter/to-json.ts'
import type { RunStep } from '../events/event-store.ts'
import type { Tool } from './define-tool.ts'
import { untilAborted } from './until-aborted.ts'

/** How a tool call went. A failing tool is an outcome: the caller decides what follows. */
export type ToolOutcome =
  | { readonly success: true, readonly result: unknown }
  | { readonly success: false, readonly error: ReturnType<typeof toPublicError> }

export interface ToolRequest {
  readonly toolCallId: string
  readonly name: string
  readonly input: unknown
  /** Stored with its announcement. */
  readonly step?: RunStep | undefined
  /** An earlier attempt of the run has announced it; whether it has done anything is not known. */
  readonly announced?: boolean
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

export interface DispatcherOptions {
  /** The agent that asks for them. */
  readonly agentName: string
  readonly tools: readonly Tool[]
  readonly emitter: Emitter
  readonly signal: AbortSignal
  readonly defaultTimeoutMs: number
  readonly logger: Logger
}

const toolDuration = createHistogram(metricDefinitions.toolDuration)

export function createDispatcher (options: DispatcherOptions): Dispatcher {
  const { agentName, emitter, logger } = options
  const tools = new Map(options.tools.map((tool) => [tool.name, tool]))

  async function perform (request: ToolRequest): Promise<unknown> {
    const tool = tools.get(request.name)
    if (tool === undefined) throw new ThreadlineError('THREADLINE_TOOL_NOT_FOUND', `There is no tool ${request.name.slice(0, 64)}`)
    if (request.announced === true && tool.repeatable === false) throw new ThreadlineError('THREADLINE_TOOL_INTERRUPTED')
    return await limited(tool, request, options)
  }

  async function performAsHop (request: ToolRequest): Promise<ToolOutcome> {
    const name = `execute_tool ${request.name.slice(0, 64)}`
    const spanAttributes = {
      [attributes.operation]: 'execute_tool',
      [attributes.toolName]: request.name.slice(0, 64),
      [attributes.toolCallId]: request.toolCallId,
      [attributes.toolType]: 'function'
    }
    try {
      return await childRequest(name, async () => await withHop('tool', { name, attributes: spanAttributes }, async () =>
        ({ success: true, result: toJson(await perform(request)) })))
    } catch (err) {
      if (!isThreadlineError(err)) logger.warn({ err, tool: request.name.slice(0, 64) }, 'a tool failed')
      return { success: false, error: publicErrorOfTool(err) }
    }
  }

  async function tell (request: ToolRequest): Promise<ToolOutcome> {
    const shown = { tool_call_id: request.toolCallId, tool: request.name.slice(0, 64) }
    if (request.announced !== true) await emitter.emit('tool_executing', { ...shown, parameters: redact(request.input) }, { step: request.step })
    const startedAt = performance.now()
    const outcome = await performAsHop(request)
    const ending = outcome.success ? { result: redact(outcome.result) } : { error: outcome.error }
    const durationMs = Math.round(performance.now() - startedAt)
    toolDuration.record((performance.now() - startedAt) / 1_000, labelsOf(request, outcome))
    const body: ToolRecord = { tool: shown.tool, outcome: kept(outcome) }
    const step = { key: toolKeyOf(request.toolCallId), body }
    await emitter.emit('tool_completed', { ...shown, success: outcome.success, duration_ms: durationMs, ...ending }, { step })
    return outcome
  }

  /** A model may ask for a tool of any name: only those that there are have a label of their own. */
  function labelsOf ({ name }: ToolRequest, outcome: ToolOutcome): Attributes {
    return {
      [attributes.toolName]: tools.has(name) ? name : '_OTHER',
      [attributes.toolType]: 'function',
      [attributes.agentName]: agentName,
      ...(outcome.success ? {} : { [attributes.errorType]: outcome.error.code })
    }
  }

  const running = new Set<Promise<ToolOutcome>>()
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

/** The longest outcome that is stored for a later attempt, in characters of JSON: steps are written together with the events of everybody. */
const maxKeptCharacters = 1_000_000

/** What a later attempt of the run is given for the outcome. */
function kept (outcome: ToolOutcome): ToolOutcome {
  if (JSON.stringify(outcome).length <= maxKeptCharacters) return outcome
  return { success: false, error: toPublicError(new ThreadlineError('THREADLINE_TOOL_INTERRUPTED', 'The result of the tool was too large to be kept')) }
}

async function limited (tool: Tool, request: ToolRequest, options: DispatcherOptions): Promise<unknown> {
  const timeoutMs = tool.timeoutMs ?? options.defaultTimeoutMs
  const limit = new AbortController()
  // A timer of its own: the one in AbortSignal.timeout() does not keep the process alive, and may never fire.
  const timer = setTimeout(() => {
    limit.abort(new ThreadlineError('THREADLINE_TIMED_OUT', `The tool took longer than ${timeoutMs} ms`))
  }, timeoutMs)
  const signal = AbortSignal.any([options.signal, limit.signal])
  try {
    const call = { toolCallId: request.toolCallId, idempotencyKey: `${currentRun().runId}/${request.toolCallId}`, signal }
    return await untilAborted(signal, async () => {
      await check(tool, request)
      signal.throwIfAborted() // while it was asked for permission: then it must not run any more
      return await tool.execute(request.input as never, call) // just checked against the tool's schema
    })
  } finally {
    clearTimeout(timer)
  }
}

/** Throws unless the active user may use the tool, and with this input. */
async function check (tool: Tool, request: ToolRequest): Promise<void> {
  if (tool.permit !== undefined && !await tool.permit()) throw new ThreadlineError('THREADLINE_TOOL_DENIED')
  const validator = validatorOf(tool)
  if (!validator.Check(request.input)) throw new ThreadlineError('THREADLINE_BAD_REQUEST', describeMismatch(validator, request.input))
}

const validators = new WeakMap<Tool, Validator>()

function validatorOf (tool: Tool): Validator {
  const validator = validators.get(tool) ?? Compile(tool.input)
  validators.set(tool, validator)
  return validator
}

function describeMismatch (validator: Validator, input: unknown): string {
  const [first] = validator.Errors(input)
  return `The tool's parameters do not match its schema: ${first?.instancePath ?? ''} ${first?.message ?? ''}`.trim()
}

function publicErrorOfTool (error: unknown): ReturnType<typeof toPublicError> {
  if (isThreadlineError(error)) return toPublicError(error)
  return toPublicError(new ThreadlineError('THREADLINE_TOOL_FAILED'))
}
