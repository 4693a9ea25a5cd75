import { defineAgent } from '../../../lib/agents/define-agent.ts'

export default defineAgent({
  name: 'failing',
  async * run () {
    yield { type: 'text', text: 'so far, so good' }
    throw new Error('no further')
  }
})
