import { defineAgent } from '../../../lib/agents/define-agent.ts'

/** Asks the address that it is told, and says what was answered. */
export default defineAgent({
  name: 'fetching',
  async * run ({ content, signal }) {
    const answer = await fetch(content, { signal })
    yield { type: 'text', text: `${answer.status}` }
  }
})
