import { once } from 'node:events'
import { defineAgent, type Agent } from '../../lib/agents/define-agent.ts'
import { createArrivals, type Arrivals } from './arrivals.ts'
import { createGates } from './gates.ts'

export interface GatedAgent {
  readonly agent: Agent
  /** The messages whose runs have come to the gate, each to be taken once. */
  readonly arrived: Arrivals<string>
  /** How many runs have been between their start and their end at the same time, at most. */
  readonly mostAtOnce: number
  /** Lets the run of this message go on, now or when it comes. */
  open (content: string): void
}

/** An agent that waits, until the test lets the run go on or the run is stopped, and then repeats its message. */
export function createGatedAgent (name = 'gated'): GatedAgent {
  const gates = createGates()
  const arrived = createArrivals<string>()
  let atOnce = 0
  let mostAtOnce = 0

  const agent = defineAgent({
    name,
    async * run ({ content, signal }) {
      atOnce += 1
      mostAtOnce = Math.max(mostAtOnce, atOnce)
      try {
        arrived.push(content)
        await Promise.race([gates.passed(content), once(signal, 'abort')])
        yield { type: 'text', text: content }
      } finally {
        atOnce -= 1
      }
    }
  })

  return {
    agent,
    arrived,
    get mostAtOnce () { return mostAtOnce },
    open: gates.open
  }
}
