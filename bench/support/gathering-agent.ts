import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'
import { Type } from 'typebox'
import { defineAgent, type Agent } from '../../lib/agents/define-agent.ts'
import { currentThread } from '../../lib/context/current-thread.ts'
import type { ThreadIdentity } from '../../lib/context/identity.ts'
import { defineTool } from '../../lib/tools/define-tool.ts'
import { markersIn } from './marker.ts'

/** Whom the agent or its tool found itself serving, while it worked on a message. */
export interface Observation {
  readonly at: string
  readonly marker: string | undefined
  readonly identity: ThreadIdentity
}

/**
 * An agent whose tool waits until all runs that are expected are in it: they are at work at the same time, or none gets any
 * further. Around it there are timers and turns of the loop, so that the runs interleave at random.
 */
export interface GatheringAgent {
  readonly agent: Agent
  readonly observations: readonly Observation[]
  /** How many runs have been in the tool at the same time. */
  readonly peak: number
  /** Starts anew, for this many runs. */
  expect (runs: number): void
}

/** Noted in each run, in this order. */
export const observationPlaces = ['agent', 'agent after a timer', 'tool', 'tool after the gathering', 'tool after a turn', 'agent after its tool', 'agent at its end']

/** In ms. */
const longestPause = 30

export function createGatheringAgent (name: string): GatheringAgent {
  let expected = 0
  let present = 0
  let peak = 0
  let gathered = Promise.withResolvers<void>()
  let observations: Observation[] = []
  const note = (at: string, content: string): void => { observations.push({ at, marker: markersIn(content)[0], identity: currentThread() }) }

  async function gather (signal: AbortSignal): Promise<void> {
    present += 1
    peak = Math.max(peak, present)
    if (present >= expected) gathered.resolve()
    const missed = Promise.withResolvers<never>()
    signal.addEventListener('abort', () => { missed.reject(signal.reason as Error) }, { once: true }) // a ThreadlineError
    await Promise.race([gathered.promise, missed.promise]).finally(() => { present -= 1 })
  }

  const agent = agentOf(name, note, gather)

  return {
    agent,
    get observations () { return observations },
    get peak () { return peak },
    expect (runs) {
      expected = runs
      present = 0
      peak = 0
      gathered = Promise.withResolvers()
      observations = []
    }
  }
}

function agentOf (name: string, note: (at: string, content: string) => void, gather: (signal: AbortSignal) => Promise<void>): Agent {
  const tool = defineTool({
    name: 'gather',
    description: 'Waits for the other runs',
    input: Type.Object({ content: Type.String() }),
    execute: async ({ content }, { signal }) => {
      note('tool', content)
      await pause(signal)
      await gather(signal)
      note('tool after the gathering', content)
      await pause(signal)
      await Promise.all([turn(), Promise.resolve()])
      note('tool after a turn', content)
      return { content }
    }
  })

  return defineAgent({
    name,
    tools: [tool],
    async * run (input) {
      const { content, signal } = input
      note('agent', content)
      yield { type: 'thinking', message: `Reading ${content}` }
      await pause(signal)
      note('agent after a timer', content)
      const { success } = await input.callTool('gather', { content })
      note('agent after its tool', content)
      yield { type: 'text', text: `${success ? 'Here it is' : 'Nobody came'}: ` }
      await pause(signal)
      yield { type: 'text', text: content }
      note('agent at its end', content)
    }
  })
}

async function pause (signal: AbortSignal): Promise<void> {
  await delay(Math.random() * longestPause, undefined, { signal })
}
