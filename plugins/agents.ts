import fp from 'fastify-plugin'
import { createAgentRegistry, type AgentRegistry } from '../lib/agents/agent-registry.ts'
import type { Agent } from '../lib/agents/define-agent.ts'
import { loadAgents } from '../lib/agents/load-agents.ts'
import { canaryAgent } from '../lib/canary/canary-agent.ts'
import { ThreadlineError } from '../lib/errors.ts'

declare module 'fastify' {
  interface FastifyInstance {
    agents: AgentRegistry
  }
}

export interface AgentsOptions {
  /** Further agents, beside those of the folder. */
  readonly agents?: readonly Agent[]
}

/** The agents of the folder `AGENTS_DIR`. The server does not start with an agent whose model or tool does not exist. */
export default fp(async function agents (app, options: AgentsOptions) {
  const { agentsFolder, defaultAgent, canary } = app.config
  const registry = createAgentRegistry({
    agents: [...await loadAgents(agentsFolder), ...options.agents ?? [], ...canary === 'on' ? [canaryAgent] : []],
    models: app.models
  })
  if (!registry.has(defaultAgent)) {
    throw new ThreadlineError('THREADLINE_INVALID_CONFIGURATION', `DEFAULT_AGENT names ${defaultAgent}, which does not exist`, { field: 'DEFAULT_AGENT' })
  }

  app.decorate('agents', registry)
}, { name: 'agents', fastify: '5.x', dependencies: ['config', 'models'] })
