import fp from 'fastify-plugin'
import type { AgentInstance } from '../../lib/agents/agent-registry.ts'
import { findStray, newMarker } from '../markers.ts'
import type { Fault } from '../fault.ts'
import { attemptRun } from './attempt.ts'

/** Makes each agent once for all who ask, by its name alone. */
const sharingPlugin = fp(async ({ agents }) => {
  const create = agents.create.bind(agents)
  const flights = new Map<string, AgentInstance>()
  agents.create = (name) => {
    const instance = flights.get(name) ?? create(name)
    flights.set(name, instance)
    return instance
  }
}, { name: 'agent-cache', dependencies: ['agents'] })

/** A plugin's single-flight cache before the agent registry, with a key that does not say for whom the instance is. */
export const sharedFlight: Fault = {
  name: 'shared-flight',
  title: "A single-flight cache gives what was made for one user's run to another's",
  stage: { plugins: [sharingPlugin] },
  hop: 'registry',
  kill: {
    what: "the engine's refusal of an agent that was made for another run",
    file: 'lib/engine/run-agent.ts',
    line: "  guard(instance.identity, 'engine')",
    becomes: ''
  },
  async provoke (stage) {
    const [alice, bob] = await Promise.all([stage.enter('alice'), stage.enter('bob')])
    const tabs = [{ user: alice, marker: newMarker('alice') }, { user: bob, marker: newMarker('bob') }]

    const refused = await Promise.all(tabs.map(async ({ user, marker }) => await attemptRun(user, marker, { agent: 'echo' })))
    const delivered = await findStray(stage.url, tabs)

    return { delivered, refused: refused.flat() }
  }
}
