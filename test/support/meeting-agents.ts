import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'
import { Type } from 'typebox'
import { defineAgent, type Agent, type ConversationMessage } from '../../lib/agents/define-agent.ts'
import { currentThread } from '../../lib/context/current-thread.ts'
import type { ThreadIdentity } from '../../lib/context/identity.ts'
import { defineTool } from '../../lib/tools/define-tool.ts'

/** The kinds of agents that meet: one in code, one of a language model, and one of several steps. */
export const meetingKinds = ['code', 'model', 'pipeline'] as const
export type MeetingKind = typeof meetingKinds[number]

/** Where a run found itself, by the marker of its message. */
export interface Sighting {
  readonly at: string
  readonly marker: string
  readonly identity: ThreadIdentity
  /** The conversation that the agent was given; only where it begins. */
  readonly history?: readonly ConversationMessage[]
}

export interface Meeting { readonly marker: string, readonly meeting: string, readonly size: number }

export interface MeetingAgents {
  readonly agents: readonly Agent[]
  readonly seen: readonly Sighting[]
  /** The payload of a message whose run meets `size - 1` others: all of them are in their tools before any goes on. */
  messageFor (kind: MeetingKind, meeting: Meeting): { readonly agent: string, readonly content: string, readonly metadata: Meeting }
}

/**
 * Agents whose runs wait for each other in the middle of a tool, so that they overlap for certain, and that write down whom they serve
 * before, in and after it. The answer of each repeats its marker and what its tool had returned.
 */
export function createMeetingAgents (): MeetingAgents {
  const seen: Sighting[] = []
  const meetings = new Map<string, { present: number, readonly opened: PromiseWithResolvers<void> }>()
  const note = (at: string, marker: string, history?: readonly ConversationMessage[]): void => {
    seen.push({ at, marker, identity: currentThread(), ...(history === undefined ? {} : { history }) })
  }

  async function meetOthers (name: string, size: number): Promise<void> {
    const meeting = meetings.get(name) ?? { present: 0, opened: Promise.withResolvers<void>() }
    meetings.set(name, meeting)
    meeting.present += 1
    if (meeting.present === size) meeting.opened.resolve()
    await meeting.opened.promise
  }

  const meet = defineTool({
    name: 'meet',
    description: 'Waits for the others',
    input: Type.Object({ marker: Type.String(), meeting: Type.String(), size: Type.Integer() }),
    execute: async ({ marker, meeting, size }) => {
      note('tool', marker)
      await meetOthers(meeting, size)
      note('tool after the meeting', marker)
      await delay(1)
      note('tool after a timer', marker)
      const { userId, threadId } = currentThread()
      return { marker, user: userId, thread: threadId }
    }
  })

  const code = defineAgent({
    name: 'meeting-code',
    tools: [meet],
    async * run ({ content: marker, history, context, callTool }) {
      note('agent', marker, history)
      await delay(1)
      yield { type: 'thinking', message: `Thinking of ${marker}` }
      note('agent after a timer', marker)
      const outcome = await callTool('meet', { marker, meeting: context['meeting'], size: context['size'] })
      note('agent after its tool', marker)
      yield { type: 'text', text: `${marker} ` }
      await turn()
      yield { type: 'text', text: JSON.stringify(outcome) }
      note('agent at its end', marker)
    }
  })

  const repeat = defineAgent({
    name: 'meeting-repeat',
    async * run ({ content }) {
      note('first step', content)
      yield { type: 'text', text: content }
    }
  })

  return {
    agents: [
      code,
      defineAgent({ name: 'meeting-model', model: 'local', instructions: 'Meet the others.', tools: [meet] }),
      defineAgent({ name: 'meeting-pipeline', steps: [{ agent: repeat }, { agent: code }] })
    ],
    seen,
    messageFor: (kind, meeting) => ({
      agent: `meeting-${kind}`,
      content: kind === 'model' ? `/meet ${JSON.stringify(meeting)}` : meeting.marker,
      metadata: meeting
    })
  }
}
