import type { AgentInstance, ReadyAgent } from '../agents/agent-registry.ts'
import type { ConversationMessage } from '../agents/define-agent.ts'
import type { Logger } from '../context/logger.ts'
import type { Emitter } from '../emitter/emitter.ts'
import type { Dispatcher } from '../tools/dispatcher.ts'

/** What a run has said so far; filled as it goes, so that a stopped run keeps it. */
export interface AgentAnswer {
  text: string
  /** `model` is the one that answered last. */
  readonly usage: { input_tokens: number, output_tokens: number, model?: string }
}

export interface AgentTask {
  readonly instance: AgentInstance
  readonly emitter: Emitter
  readonly answer: AgentAnswer
  readonly signal: AbortSignal
  readonly content: string
  readonly history: readonly ConversationMessage[]
  readonly context: Readonly<Record<string, unknown>>
}

/** What holds for every agent that does not say otherwise. */
export interface StepLimits {
  /** For one call of a model, from the request to the end of its stream. */
  readonly stepTimeoutMs: number
  readonly toolTimeoutMs: number
  readonly stepLimit: number
  readonly logger: Logger
}

/** A task of one agent, which in a pipeline is one of several. */
export type StepTask<Kind extends ReadyAgent = ReadyAgent> = Omit<AgentTask, 'instance'> & {
  readonly agent: Kind
  readonly dispatcher: Dispatcher
  /** The id of a tool call that nobody else names: another one each time, in all steps of the run. */
  readonly nextCallId: () => string
}
