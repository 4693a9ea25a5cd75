import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'
import { Type } from 'typebox'
import { defineAgent, type Agent } from '../../lib/agents/define-agent.ts'
import { currentThread } from '../../lib/context/current-thread.ts'
import type { ThreadIdentity } from '../../lib/context/identity.ts'
import { defineTool } from '../../lib/tools/define-tool.ts'

export interface Observation {
  /** Where the identity was read. */
  readonly at: string
  readonly identity: ThreadIdentity
  /** The message of the run, as the agent was given it. */
  readonly content: string
}

/**
 * An agent that writes down whom it finds itself serving: at its start, after awaits, timers and turns of the loop, and in its tool before
 * and after the same. Its answer repeats the message.
 */
export function createObservingAgent (name = 'observer'): { readonly agent: Agent, readonly seen: readonly Observation[] } {
  const seen: Observation[] = []
  const note = (at: string, content: string): void => { seen.push({ at, identity: currentThread(), content }) }

  const look = defineTool({
    name: 'look',
    description: 'Looks whom it serves',
    input: Type.Object({ content: Type.String() }),
    execute: async ({ content }, { signal }) => {
      note('tool', content)
      await delay(2, undefined, { signal })
      note('tool after a timer', content)
      await Promise.all([turn(), Promise.resolve()])
      note('tool after a turn', content)
      return { content, thread: currentThread().threadId }
    }
  })

  const agent = defineAgent({
    name,
    tools: [look],
    async * run ({ content, callTool }) {
      note('agent', content)
      yield { type: 'thinking', message: 'Looking around' }
      await delay(1)
      note('agent after a timer', content)
      const outcome = await callTool('look', { content })
      note('agent after its tool', content)
      yield { type: 'text', text: `${content} ${outcome.success ? 'seen' : 'unseen'}` }
      note('agent at its end', content)
    }
  })
  return { agent, seen }
}
