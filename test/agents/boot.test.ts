import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { createAgentRegistry } from '../../lib/agents/agent-registry.ts'
import { defineAgent } from '../../lib/agents/define-agent.ts'
import { loadAgents } from '../../lib/agents/load-agents.ts'
import { createModelRegistry } from '../../lib/models/model-registry.ts'

const models = createModelRegistry({ model: 'local' })
const instructions = 'Be brief.'
const refused = { code: 'THREADLINE_INVALID_CONFIGURATION' }

t.test('a registry with an unknown model, an unknown tool or two agents of one name is not made', async (t) => {
  const one = defineAgent({ name: 'one', instructions })

  t.throws(() => createAgentRegistry({ models, agents: [defineAgent({ name: 'a', instructions, model: 'nowhere:x' })] }), refused)
  t.throws(() => createAgentRegistry({ models, agents: [defineAgent({ name: 'a', instructions, model: 'openai:gpt' })] }), { ...refused, message: /OPENAI_API_KEY/ })
  t.throws(() => createAgentRegistry({ models, agents: [defineAgent({ name: 'a', instructions, tools: ['teleport'] })] }), { ...refused, message: /teleport/ })
  t.throws(() => createAgentRegistry({ models, agents: [one, one] }), { ...refused, message: /one/ })
  t.throws(() => defineAgent({ name: 'No Name', instructions }), TypeError)
})

t.test('the agents of a folder are loaded, and a file without an agent is named', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'threadline-agents-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))

  const shipped = await loadAgents(new URL('../../agents', import.meta.url).pathname)

  t.same(shipped.map(({ name }) => name), ['assistant', 'echo'])
  await t.rejects(loadAgents(join(folder, 'missing')), { ...refused, message: /missing/ })
  await writeFile(join(folder, 'wrong.js'), 'export default { name: "wrong" }')
  await t.rejects(loadAgents(folder), { ...refused, message: /wrong\.js/ })
  await writeFile(join(folder, 'wrong.js'), 'export default (')
  await t.rejects(loadAgents(folder), { ...refused, message: /wrong\.js/ })
})
