import { attributes } from '../context/attributes.ts'
import { currentRun } from '../context/current-thread.ts'
import { withHop } from '../context/hop.ts'
import type { RunIdentity } from '../context/identity.ts'
import { ThreadlineError } from '../errors.ts'
import type { LanguageModel, ModelRegistry } from '../models/model-registry.ts'
import { builtinTools } from '../tools/builtin-tools.ts'
import type { Tool } from '../tools/define-tool.ts'
import type { Agent, CodeAgent, ModelAgent, PipelineAgent, PipelineStep } from './define-agent.ts'

/** An agent with its tools and models found: everything that a run needs of it. */
export type ReadyAgent =
  | ReadyModelAgent
  | (Omit<CodeAgent, 'tools'> & { readonly tools: readonly Tool[] })
  | ReadyPipeline

export type ReadyModelAgent = Omit<ModelAgent, 'tools' | 'model'> & {
  readonly tools: readonly Tool[]
  readonly model: LanguageModel
  /** What the model threw, as an error that may be told to the client. */
  readonly toModelError: (error: unknown) => ThreadlineError
}
export type ReadyPipeline = Omit<PipelineAgent, 'tools' | 'steps'> & {
  readonly tools: readonly Tool[]
  readonly steps: readonly (Omit<PipelineStep, 'agent'> & { readonly agent: ReadyAgent })[]
}

/** One agent for one run. */
export interface AgentInstance {
  readonly agent: ReadyAgent
  /** The identity of the run that it was made for, read from the active context. */
  readonly identity: RunIdentity
}

export interface AgentDescription {
  readonly name: string
  readonly description: string
  readonly tools: readonly string[]
}

/**
 * The agents of this server, fixed at start. It holds no state of any user: each run gets an instance of its own. It knows only what the
 * active user may use.
 */
export interface AgentRegistry {
  has (name: string): boolean
  readonly agents: readonly AgentDescription[]
  /**
   * The agent for the active run. Throws `THREADLINE_AGENT_NOT_FOUND`, and `THREADLINE_NO_CONTEXT` outside of a run.
   */
  create (name: string): AgentInstance
}

/** Finds every agent's tools and models now. Throws `THREADLINE_INVALID_CONFIGURATION` for an unknown one or two agents of one name. */
export function createAgentRegistry (options: { agents: readonly Agent[], models: Pick<ModelRegistry, 'resolve' | 'toError'> }): AgentRegistry {
  const agents = new Map<string, ReadyAgent>()
  for (const agent of options.agents) {
    if (agents.has(agent.name)) throw misconfigured(`There are two agents named ${agent.name}`)
    agents.set(agent.name, makeReady(agent, options.models))
  }
  const find = (name: string): ReadyAgent | undefined => {
    const agent = agents.get(name)
    return agent?.permit?.() === false ? undefined : agent
  }

  return {
    has: (name) => find(name) !== undefined,
    get agents () {
      return [...agents.values()].filter(({ permit }) => permit?.() !== false)
        .map(({ name, description, tools }) => ({ name, description, tools: tools.map((tool) => tool.name) }))
    },
    create: (name) => withHop('registry', { attributes: { [attributes.agentName]: name.slice(0, 64) } }, () => {
      const agent = find(name)
      if (agent === undefined) throw new ThreadlineError('THREADLINE_AGENT_NOT_FOUND')
      return { agent, identity: currentRun() }
    })
  }
}

function makeReady (agent: Agent, models: Pick<ModelRegistry, 'resolve' | 'toError'>): ReadyAgent {
  const tools = agent.tools.map((tool) => typeof tool === 'string' ? findTool(agent, tool) : tool)
  switch (agent.kind) {
    case 'model': return Object.freeze({ ...agent, tools, model: models.resolve(agent.model), toModelError: models.toError })
    case 'code': return Object.freeze({ ...agent, tools })
    case 'pipeline': {
      const steps = agent.steps.map((step) => ({ ...step, agent: makeReady(step.agent, models) }))
      return Object.freeze({ ...agent, tools, steps })
    }
  }
}

function findTool (agent: Agent, name: string): Tool {
  const tool = builtinTools.find((candidate) => candidate.name === name)
  if (tool === undefined) throw misconfigured(`Agent ${agent.name} names the tool ${name}, which does not exist`)
  return tool
}

function misconfigured (message: string): ThreadlineError {
  return new ThreadlineError('THREADLINE_INVALID_CONFIGURATION', message)
}
