import type { Tool } from '../tools/define-tool.ts'
import type { ToolOutcome } from '../tools/perform-tool.ts'

/** What an agent tells while it works. Text becomes the answer. */
export type AgentOutput =
  | { readonly type: 'thinking', readonly message: string }
  | { readonly type: 'text', readonly text: string }

/** What an agent is given. Whom it serves it reads with `currentThread()`. */
export interface AgentInput {
  /** The message that started the run. */
  readonly content: string
  /** The thread so far, oldest first, without that message. */
  readonly history: readonly ConversationMessage[]
  /** What the client gave to `start_agent`, or `metadata` of the message. */
  readonly context: Readonly<Record<string, unknown>>
  /** Aborted when the run is stopped, at its time limit, and when the server shuts down. */
  readonly signal: AbortSignal
  /**
   * Calls one of the agent's own tools; a failing tool is an outcome, not an error. When the run goes on in another process, a call with the
   * same name and input as before is answered with what was found then.
   */
  readonly callTool: (name: string, input: unknown) => Promise<ToolOutcome>
}

export interface ConversationMessage {
  readonly role: 'user' | 'assistant'
  readonly content: string
}

export interface AgentLimits {
  /** Model calls in one run; the server's default without it. */
  readonly steps?: number
  readonly runTimeoutMs?: number
  /** For one call of the model. */
  readonly stepTimeoutMs?: number
}

interface AgentBase {
  /** 1 to 64 of `a–z 0–9 -`. */
  readonly name: string
  readonly description: string
  /** Tools, or the names of built-in ones. */
  readonly tools: readonly (Tool | string)[]
  readonly limits: AgentLimits
  /**
   * Whether the active user may name it; for others it does not exist. Everybody may without it. It answers false outside of an identity. A
   * pipeline asks for itself, and not for its steps.
   */
  readonly permit?: () => boolean
}

/** An agent that a language model drives: the loop of model calls and tools is the AI SDK's. */
export interface ModelAgent extends AgentBase {
  readonly kind: 'model'
  /** `default`, `local`, or `provider:model`. */
  readonly model: string
  readonly instructions: string
}

/**
 * An agent in code: an async generator that is run in the context of its run. When its process dies it is begun again in another one: it
 * should ask the clock, chance and the world by a tool, so that it asks the same again.
 */
export interface CodeAgent extends AgentBase {
  readonly kind: 'code'
  readonly run: (input: AgentInput) => AsyncIterable<AgentOutput>
}

/** Several agents, one after the other, in one run: each is given the answer of the one before. */
export interface PipelineAgent extends AgentBase {
  readonly kind: 'pipeline'
  readonly steps: readonly PipelineStep[]
}

export interface PipelineStep {
  readonly agent: Agent
  /** Whether the next step runs after this one failed, with this one's input. */
  readonly continueOnError?: boolean
}

export type Agent = ModelAgent | CodeAgent | PipelineAgent

type Optional = Partial<Pick<AgentBase, 'description' | 'tools' | 'limits' | 'permit'>>
type ModelDefinition = Pick<ModelAgent, 'name' | 'instructions'> & Partial<Pick<ModelAgent, 'model'>> & Optional
type CodeDefinition = Pick<CodeAgent, 'name' | 'run'> & Optional
type PipelineDefinition = Pick<PipelineAgent, 'name' | 'steps'> & Optional
export type AgentDefinition = ModelDefinition | CodeDefinition | PipelineDefinition

const agentName = /^[a-z][a-z0-9-]{0,63}$/
const defined = new WeakSet()

/** Checks and freezes an agent. Throws a `TypeError` for a malformed name and for two tools of one name. */
export function defineAgent (definition: AgentDefinition): Agent {
  const { name, description = '', tools = [], limits = {}, permit } = definition
  if (!agentName.test(name)) throw new TypeError(`"${name}" is not an agent name (a–z, 0–9, -)`)
  const names = new Set(tools.map((tool) => typeof tool === 'string' ? tool : tool.name))
  if (names.size < tools.length) throw new TypeError(`Agent ${name} has two tools of one name`)
  const base = {
    name, description, tools: Object.freeze([...tools]), limits: Object.freeze({ ...limits }), ...(permit === undefined ? {} : { permit })
  }
  const agent = complete(definition, base)
  defined.add(agent)
  return Object.freeze(agent)
}

export function isAgent (value: unknown): value is Agent {
  return typeof value === 'object' && value !== null && defined.has(value)
}

function complete (definition: AgentDefinition, base: AgentBase): Agent {
  if ('run' in definition) return { ...base, kind: 'code', run: definition.run }
  if ('steps' in definition) return { ...base, kind: 'pipeline', steps: Object.freeze([...definition.steps]) }
  return { ...base, kind: 'model', model: definition.model ?? 'default', instructions: definition.instructions }
}
