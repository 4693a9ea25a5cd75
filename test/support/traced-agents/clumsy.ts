import { Type } from 'typebox'
import { defineAgent } from '../../../lib/agents/define-agent.ts'
import { defineTool } from '../../../lib/tools/define-tool.ts'

const broken = defineTool({
  name: 'broken',
  description: 'Always fails',
  input: Type.Object({}),
  execute: () => { throw new Error('it is broken') }
})

/** Goes on after its tool has failed. */
export default defineAgent({
  name: 'clumsy',
  tools: [broken],
  async * run ({ callTool }) {
    await callTool('broken', {})
    yield { type: 'text', text: 'It did not work.' }
  }
})
