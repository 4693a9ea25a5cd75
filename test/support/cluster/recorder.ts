import { Type } from 'typebox'
import { defineAgent, type Agent } from '../../../lib/agents/define-agent.ts'
import { currentThread } from '../../../lib/context/current-thread.ts'
import { defineTool } from '../../../lib/tools/define-tool.ts'
import type { Effect } from './outside-world.ts'

/** An agent whose tool leaves something behind outside of the service: in whose name it was called, and under which key. */
export function createRecorder (ledgerUrl: string, node: string): Agent {
  const record = defineTool({
    name: 'record',
    description: 'Writes something down',
    input: Type.Object({ marker: Type.String({ maxLength: 200 }) }),
    execute: async ({ marker }, { idempotencyKey: key, signal }) => {
      const { userId, threadId, runId = '' } = currentThread()
      const effect: Effect = { key, marker, userId, threadId, runId }
      const headers = { 'content-type': 'application/json', authorization: `Bearer ${node}` }
      const response = await fetch(ledgerUrl, { method: 'POST', headers, body: JSON.stringify(effect), signal })
      return await response.json()
    }
  })
  return defineAgent({ name: 'recorder', model: 'default', instructions: 'Answer, and write down what you are asked to write down.', tools: [record] })
}
