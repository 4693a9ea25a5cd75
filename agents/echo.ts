import { defineAgent } from '../lib/agents/define-agent.ts'
import { currentThread } from '../lib/context/current-thread.ts'

/** An agent in code: no model, an async generator that tells what it does. */
export default defineAgent({
  name: 'echo',
  description: 'Says what you said, and whom it says it to',
  async * run ({ content }) {
    const { userId, threadId } = currentThread()
    yield { type: 'thinking', message: 'Listening' }
    yield { type: 'text', text: `${userId}, in thread ${threadId} you said: ${content}` }
  }
})
