import { createHash } from 'node:crypto'
import type { ModelMessage } from 'ai'
import { toJson } from '../emitter/to-json.ts'
import type { RunStep } from '../stores/run-step.ts'
import { toolKeyOf, type ToolRecord, type ToolRequest } from '../tools/dispatcher.ts'
import type { ToolOutcome } from '../tools/perform-tool.ts'
import type { AgentAnswer } from './agent-task.ts'
import type { RunPast } from './run-past.ts'

export type ModelUsage = Readonly<AgentAnswer['usage']>

/** A tool call as a model asked for it; `invalid` where the agent has no such tool. */
export type ModelToolCall = Pick<ToolRequest, 'toolCallId' | 'name' | 'input'> & { readonly providerCallId: string, readonly invalid: boolean }

/** What one call of a model has said, and what it has cost. */
export interface ModelStep {
  readonly messages: readonly ModelMessage[]
  readonly calls: readonly ModelToolCall[]
  readonly text: string
  readonly finishReason: string
  readonly usage: ModelUsage
}

/** How one stage of a pipeline has ended. */
export interface Stage {
  readonly text: string
  readonly failed: boolean
  /** Of the run up to here. */
  readonly usage: ModelUsage
}

/**
 * What earlier attempts of a run have done, found by its place in the agent, and the form in which this attempt's steps are stored. A place is
 * a path: the agent's name, and below a pipeline the number and name of each stage, so that a changed agent does not find what another one
 * has done.
 */
export class RunSteps {
  readonly #attempt: number
  readonly #bodies: ReadonlyMap<string, unknown>
  readonly #openTools: ReadonlySet<string>
  readonly #asked = new Map<string, number>()
  /** What models have counted in earlier attempts, whatever of it this one comes to again. */
  readonly spent: ModelUsage
  #calls = 0

  constructor (attempt: number, { steps, openTools }: Pick<RunPast, 'steps' | 'openTools'>) {
    this.#attempt = attempt
    this.#bodies = new Map(steps.map(({ key, body }) => [key, body]))
    this.#openTools = new Set(openTools.map(({ toolCallId }) => toolCallId))
    this.spent = spentIn(steps)
  }

  /** The id of a tool call that no attempt of the run has used: its idempotency key would stand for another call. */
  nextCallId (): string {
    this.#calls += 1
    return this.#attempt === 1 ? `call-${this.#calls}` : `call-${this.#attempt}-${this.#calls}`
  }

  model (path: string, step: number): ModelStep | undefined {
    return this.#find<ModelStep>(modelKey(path, step))
  }

  recordModel (path: string, step: number, { messages, calls, text, finishReason, usage }: ModelStep): RunStep {
    return { key: modelKey(path, step), body: { messages, calls, text, finishReason, usage } }
  }

  stage (path: string): Stage | undefined {
    return this.#find<Stage>(stageKey(path))
  }

  recordStage (path: string, stage: Stage): RunStep {
    return { key: stageKey(path), body: { ...stage, usage: { ...stage.usage } } }
  }

  /**
   * The next call of an agent in code, as a request. It is a recorded one when it has the same name and input, the first of several
   * equal ones first: whatever is between them may come in another order.
   */
  codeCall (path: string, name: string, input: unknown): ToolRequest {
    const same = `call:${path}/${digestOf([name, input])}`
    const nth = (this.#asked.get(same) ?? 0) + 1
    this.#asked.set(same, nth)
    const key = `${same}/${nth}`
    const recorded = this.#find<{ readonly toolCallId: string }>(key)
    if (recorded !== undefined) return { toolCallId: recorded.toolCallId, name, input }
    const toolCallId = this.nextCallId()
    return { toolCallId, name, input, step: { key, body: { toolCallId } } }
  }

  /** What a call has come to. */
  outcome (toolCallId: string): ToolOutcome | undefined {
    return this.#find<ToolRecord>(toolKeyOf(toolCallId))?.outcome
  }

  /** Whether an earlier attempt has announced the call, and nobody knows what it has done. */
  isOpen (toolCallId: string): boolean {
    return this.#openTools.has(toolCallId)
  }

  #find<Body>(key: string): Body | undefined {
    return this.#bodies.get(key) as Body | undefined // only a record of the same key's kind is stored under it
  }
}

const [modelKind, stageKind] = ['model:', 'stage:']
const modelKey = (path: string, step: number): string => `${modelKind}${path}/${step}`
const stageKey = (path: string): string => `${stageKind}${path}`

/** In the order in which they were stored: a stage says what the whole run has used up to its end, with answers that are no steps of their own. */
function spentIn (steps: readonly RunStep[]): ModelUsage {
  return steps.reduce<ModelUsage>((spent, { key, body }) => {
    if (key.startsWith(stageKind)) return (body as Stage).usage // by its key
    return key.startsWith(modelKind) ? sumOf(spent, (body as ModelStep).usage) : spent
  }, { input_tokens: 0, output_tokens: 0 })
}

/** The model is the one that has answered last. */
function sumOf (one: ModelUsage, next: ModelUsage): ModelUsage {
  return { ...one, ...next, input_tokens: one.input_tokens + next.input_tokens, output_tokens: one.output_tokens + next.output_tokens }
}

/** Inputs of any size, by what a tool can tell apart in JSON. */
function digestOf (value: unknown): string {
  return createHash('sha256').update(JSON.stringify(toJson(value))).digest('base64url')
}
