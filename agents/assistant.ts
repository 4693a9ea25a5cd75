import { setTimeout as delay } from 'node:timers/promises'
import { Type } from 'typebox'
import { defineAgent } from '../lib/agents/define-agent.ts'
import { currentThread } from '../lib/context/current-thread.ts'
import { defineTool } from '../lib/tools/define-tool.ts'

/**
 * A slow tool that can be stopped: the signal is aborted when the user presses stop or the time limit is reached. It is not
 * told whom it serves; it asks.
 */
const research = defineTool({
  name: 'research',
  description: 'Looks a topic up thoroughly. Takes a few seconds.',
  input: Type.Object({
    topic: Type.String({ maxLength: 500 }),
    seconds: Type.Optional(Type.Number({ minimum: 0, maximum: 60, description: 'How thorough to be' }))
  }),
  execute: async ({ topic, seconds = 2 }, { signal }) => {
    await delay(seconds * 1000, undefined, { signal })
    const { userId, threadId } = currentThread()
    return { topic, notes: `Notes on ${topic}, collected for ${userId} in thread ${threadId}` }
  }
})

export default defineAgent({
  name: 'assistant',
  description: 'Answers questions, tells the time and looks things up',
  model: 'default',
  instructions: 'You are a helpful assistant. Use a tool when it answers better than you can.',
  tools: ['current_time', research]
})
