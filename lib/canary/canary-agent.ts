import { setImmediate as turn } from 'node:timers/promises'
import { Type } from 'typebox'
import { defineAgent } from '../agents/define-agent.ts'
import { currentThread } from '../context/current-thread.ts'
import { defineTool } from '../tools/define-tool.ts'
import { servesCanary } from './canary-users.ts'

/** Waits for a turn of the event loop, so that the runs of several canaries come in between, and only then reads whom it serves. */
const repeat = defineTool({
  name: 'repeat',
  description: 'Repeats a text, and says whom it serves',
  input: Type.Object({ text: Type.String() }),
  permit: servesCanary,
  async execute ({ text }) {
    await turn()
    const { userId, threadId } = currentThread()
    return { text, user_id: userId, thread_id: threadId }
  }
})

/** Answers a canary with its own message, by way of a tool, and puts the message into everything that the run tells. It costs nothing. */
export const canaryAgent = defineAgent({
  name: 'threadline-canary',
  description: 'Repeats what it is told',
  tools: [repeat],
  permit: servesCanary,
  async * run ({ content, callTool }) {
    yield { type: 'thinking', message: content }
    const outcome = await callTool(repeat.name, { text: content })
    if (outcome.success) yield { type: 'text', text: textOf(outcome.result) }
  }
})

function textOf (result: unknown): string {
  return typeof result === 'object' && result !== null && 'text' in result ? String(result.text) : ''
}
