import type { AgentInstance, ReadyAgent } from '../agents/agent-registry.ts'
import type { ConversationMessage } from '../agents/define-agent.ts'
import type { Logger } from '../context/logger.ts'
import type { Emitter } from '../emitter/emitter.ts'
import type { Dispatcher } from '../tools/dispatcher.ts'
import type { RunSteps } from './run-steps.ts'

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
  /** What earlier attempts of the run have done, and what this one is to store. */
  readonly steps: RunSteps
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
  /** Where the agent stands in the run, for `steps`. */
  readonly path: string
}
