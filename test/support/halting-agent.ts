import { defineAgent, type Agent, type ConversationMessage } from '../../lib/agents/define-agent.ts'
import { createArrivals, type Arrivals } from './arrivals.ts'

/** A run that has said its first words, and goes on when the test says so. */
export interface HaltedRun {
  readonly content: string
  readonly history: readonly ConversationMessage[]
  readonly signal: AbortSignal
  /** Without words of its own it says `, and the rest`; with none at all it just ends. */
  goOn (rest?: string): void
}

export interface HaltingAgent {
  readonly agent: Agent
  readonly halted: Arrivals<HaltedRun>
}

/**
 * An agent that says `<message>: so far`, and then waits until the test lets it say the rest or the run is stopped. It has told the first half
 * for certain when it is halted.
 */
export function createHaltingAgent (name = 'halting'): HaltingAgent {
  const halted = createArrivals<HaltedRun>()
  const agent = defineAgent({
    name,
    async * run ({ content, history, signal }) {
      yield { type: 'text', text: `${content}: so far` }
      yield { type: 'thinking', message: 'What was said is told before this' }
      const gate = Promise.withResolvers<string>()
      signal.addEventListener('abort', () => { gate.reject(signal.reason as Error) }) // an Error: every abort of ours gives one as reason
      halted.push({ content, history, signal, goOn: (rest = ', and the rest') => { gate.resolve(rest) } })
      yield { type: 'text', text: await gate.promise }
    }
  })
  return { agent, halted }
}
