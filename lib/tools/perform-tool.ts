import { attributes } from '../context/attributes.ts'
import { childRequest } from '../context/child-request.ts'
import { currentRun } from '../context/current-thread.ts'
import { withHop } from '../context/hop.ts'
import type { Logger } from '../context/logger.ts'
import { toJson } from '../emitter/to-json.ts'
import { isThreadlineError, ThreadlineError, toPublicError } from '../errors.ts'
import { checkCall } from './check-call.ts'
import type { Tool } from './define-tool.ts'
import { untilAborted } from './until-aborted.ts'

/** How a tool call went. A failing tool is an outcome: the caller decides what follows. */
export type ToolOutcome =
  | { readonly success: true, readonly result: unknown }
  | { readonly success: false, readonly error: ReturnType<typeof toPublicError> }

export interface ToolCallRequest {
  readonly toolCallId: string
  readonly name: string
  readonly input: unknown
  /** An earlier attempt of the run has announced it; whether it has done anything is not known. */
  readonly announced?: boolean
}

export interface PerformOptions {
  readonly signal: AbortSignal
  readonly defaultTimeoutMs: number
  readonly logger: Logger
}

/** What is shown of a tool's name: a model may ask for one by any text. */
export const shownName = (name: string): string => name.slice(0, 64)

/**
 * Calls a tool of the active run once, as a child request and a hop of its own, for at most its time. Never throws: an unknown, denied, failing or stuck tool
 * is an outcome as well. Its result is JSON.
 */
export async function performTool (tool: Tool | undefined, request: ToolCallRequest, options: PerformOptions): Promise<ToolOutcome> {
  const shown = shownName(request.name)
  const name = `execute_tool ${shown}`
  const spanAttributes = {
    [attributes.operation]: 'execute_tool',
    [attributes.toolName]: shown,
    [attributes.toolCallId]: request.toolCallId,
    [attributes.toolType]: 'function'
  }
  try {
    return await childRequest(name, async () => await withHop('tool', { name, attributes: spanAttributes }, async () =>
      ({ success: true, result: toJson(await perform(tool, request, options)) })))
  } catch (err) {
    if (!isThreadlineError(err)) options.logger.warn({ err, tool: shown }, 'a tool failed')
    return { success: false, error: publicErrorOfTool(err) }
  }
}

async function perform (tool: Tool | undefined, request: ToolCallRequest, options: PerformOptions): Promise<unknown> {
  if (tool === undefined) throw new ThreadlineError('THREADLINE_TOOL_NOT_FOUND', `There is no tool ${shownName(request.name)}`)
  if (request.announced === true && tool.repeatable === false) throw new ThreadlineError('THREADLINE_TOOL_INTERRUPTED')
  return await limited(tool, request, options)
}

async function limited (tool: Tool, request: ToolCallRequest, options: PerformOptions): Promise<unknown> {
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
      await checkCall(tool, request.input)
      signal.throwIfAborted() // while it was asked for permission: then it must not run any more
      return await tool.execute(request.input as never, call) // just checked against the tool's schema
    })
  } finally {
    clearTimeout(timer)
  }
}

function publicErrorOfTool (error: unknown): ReturnType<typeof toPublicError> {
  if (isThreadlineError(error)) return toPublicError(error)
  return toPublicError(new ThreadlineError('THREADLINE_TOOL_FAILED'))
}
