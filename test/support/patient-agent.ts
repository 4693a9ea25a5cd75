import { defineAgent, type Agent } from '../../lib/agents/define-agent.ts'
import { createGates } from './gates.ts'
import type { TestSocket } from './test-socket.ts'

export interface PatientAgent {
  readonly agent: Agent
  /** Lets the run of this message go on, now or later. */
  open (content: string): void
}

/**
 * An agent that says `first ` and then `waiting`, waits for the test, and tells five more events: three thoughts, `last`, and its end.
 * Before it waits it has told four.
 */
export function createPatientAgent (name = 'patient'): PatientAgent {
  const gates = createGates()
  const agent = defineAgent({
    name,
    async * run ({ content }) {
      yield { type: 'text', text: 'first ' }
      yield { type: 'thinking', message: 'waiting' }
      await gates.passed(content)
      for (const message of ['one', 'two', 'three']) yield { type: 'thinking', message }
      yield { type: 'text', text: 'last' }
    }
  })
  return { agent, open: gates.open }
}

/** Resolves when a run of the agent waits, and this socket has been told so. */
export async function untilWaiting (socket: TestSocket, runId: string | undefined): Promise<void> {
  await socket.until('agent_thinking', (event) => event.run_id === runId && event.payload.message === 'waiting')
}
