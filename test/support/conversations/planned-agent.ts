import { once } from 'node:events'
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'
import { Type } from 'typebox'
import { defineAgent, type Agent, type AgentOutput } from '../../../lib/agents/define-agent.ts'
import { defineTool } from '../../../lib/tools/define-tool.ts'

/** What a run of the planned agent does, step by step. `gate` waits until the test opens it or the run is stopped. */
export const planSteps = ['text', 'thinking', 'tool', 'failing-tool', 'deaf-tool', 'turn', 'pause', 'gate', 'failure'] as const
export type PlanStep = typeof planSteps[number]

export interface PlannedAgent {
  readonly agent: Agent
  /** Lets the run of this message pass its gates, now and when it comes to them. */
  open (content: string): void
}

/** What a run does that answers a message once more: nobody can give it a plan. */
export const planOfRegeneration: readonly PlanStep[] = ['pause', 'text']

/** What the run says at a step of its plan. */
export const pieceOf = (content: string, step: number): string => `${content}/${step} `

/** An agent that does what the metadata of its message say. */
export function createPlannedAgent (): PlannedAgent {
  const gates = new Map<string, PromiseWithResolvers<void>>()
  const gateOf = (content: string): PromiseWithResolvers<void> => {
    const gate = gates.get(content) ?? Promise.withResolvers<void>()
    gates.set(content, gate)
    return gate
  }

  const input = Type.Object({ text: Type.String() })
  const tools = [
    defineTool({ name: 'repeat', description: 'Repeats', input, execute: async ({ text }) => { await turn(); return { text } } }),
    defineTool({ name: 'fail', description: 'Fails', input, execute: async ({ text }) => { throw new Error(text) } }),
    // It does not heed its signal, and comes with its result when the run may be over.
    defineTool({ name: 'deaf', description: 'Is slow', input, execute: async ({ text }) => { await delay(15); return { text } } })
  ]

  const agent = defineAgent({
    name: 'planned',
    tools,
    async * run ({ content, context, signal, callTool }) {
      const plan = (context['plan'] ?? planOfRegeneration) as readonly PlanStep[] // what `sendMessage` has given it
      for (const [index, step] of plan.entries()) {
        const output = await outputOf(step, pieceOf(content, index))
        if (output !== undefined) yield output
      }

      async function outputOf (step: PlanStep, text: string): Promise<AgentOutput | undefined> {
        switch (step) {
          case 'text': return { type: 'text', text }
          case 'thinking': return { type: 'thinking', message: text }
          case 'tool': await callTool('repeat', { text }); return undefined
          case 'failing-tool': await callTool('fail', { text }); return undefined
          case 'deaf-tool': await callTool('deaf', { text }); return undefined
          case 'turn': await turn(); return undefined
          case 'pause': await delay(3); return undefined
          case 'gate': await Promise.race([gateOf(content).promise, once(signal, 'abort')]); return undefined
          case 'failure': throw new Error(text)
        }
      }
    }
  })

  return { agent, open: (content) => { gateOf(content).resolve() } }
}
