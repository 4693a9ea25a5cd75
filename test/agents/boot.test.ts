import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { createAgentRegistry } from '../../lib/agents/agent-registry.ts'
import { defineAgent } from '../../lib/agents/define-agent.ts'
import { loadAgents } from '../../lib/agents/load-agents.ts'
import { enterThread, tryCurrentIdentity } from '../../lib/context/current-thread.ts'
import { createIdentity } from '../../lib/context/identity.ts'
import { createModelRegistry } from '../../lib/models/model-registry.ts'
import { newRunId, newThreadId, toUserId } from '../../lib/protocol/ids.ts'

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

// kill: `const find = (name: string): ReadyAgent | undefined => agents.get(name)` in lib/agents/agent-registry.ts
t.test('an agent that is not for everybody does not exist for the others', async (t) => {
  const permit = (): boolean => tryCurrentIdentity()?.userId === 'alice'
  const registry = createAgentRegistry({ models, agents: [defineAgent({ name: 'open', instructions }), defineAgent({ name: 'hers', instructions, permit })] })
  const names = () => [registry.has('hers'), ...registry.agents.map(({ name }) => name)]
  const inRunOf = <T>(user: string, fn: () => T): T => {
    const threadId = newThreadId()
    return enterThread(createIdentity({ userId: toUserId(user), threadId, runId: newRunId(threadId) }), fn)
  }

  t.same(inRunOf('alice', names), [true, 'open', 'hers'])
  t.equal(inRunOf('alice', () => registry.create('hers').agent.name), 'hers')
  t.same(inRunOf('mallory', names), [false, 'open'])
  t.throws(() => inRunOf('mallory', () => registry.create('hers')), { code: 'THREADLINE_AGENT_NOT_FOUND' })
  t.same(names(), [false, 'open'], 'outside of an identity')
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
