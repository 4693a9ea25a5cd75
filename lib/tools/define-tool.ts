import type { Static, TObject } from 'typebox'

/** What a tool is given beside its input. Whom it serves it reads with `currentThread()`. */
export interface ToolCall {
  readonly toolCallId: string
  /**
   * The same for every attempt of the same call of the same run, and no other call's. A tool is run at least once: when the process dies in
   * the middle of it, the run goes on in another one, which runs it again, possibly while the first one is still at it. Hand the key to
   * what must not be done twice, or store it together with what was done.
   */
  readonly idempotencyKey: string
  /** Aborted at the tool's time limit, when the run is stopped, and when the server shuts down. */
  readonly signal: AbortSignal
}

export interface ToolDefinition<Input extends TObject = TObject> {
  /** 1 to 64 of `a–z 0–9 _`, as models spell it. */
  readonly name: string
  /** For the model: what the tool does, and when to use it. */
  readonly description: string
  readonly input: Input
  /** The server's default without it. */
  readonly timeoutMs?: number
  /**
   * False for a tool that must not be run again when its process died in the middle of it, and that can do nothing with the key: its agent is
   * told that it was interrupted (`THREADLINE_TOOL_INTERRUPTED`), and decides. True by default.
   */
  readonly repeatable?: boolean
  /** Whether the active user may use it now; asked before each call. Everybody may without it. */
  readonly permit?: () => boolean | Promise<boolean>
  readonly execute: (input: Static<Input>, call: ToolCall) => unknown
}

/** A tool with its input's type erased; its input is checked against `input` before `execute` sees it. */
export interface Tool {
  readonly name: string
  readonly description: string
  readonly input: TObject
  readonly timeoutMs?: number
  readonly repeatable?: boolean
  readonly permit?: () => boolean | Promise<boolean>
  readonly execute: (input: never, call: ToolCall) => unknown
}

const toolName = /^[a-z][a-z0-9_]{0,63}$/

/** Checks and freezes a tool. Throws a `TypeError` for a name that no model accepts. */
export function defineTool<Input extends TObject> (definition: ToolDefinition<Input>): Tool {
  if (!toolName.test(definition.name)) throw new TypeError(`"${definition.name}" is not a tool name (a–z, 0–9, _)`)
  return Object.freeze({ ...definition })
}
