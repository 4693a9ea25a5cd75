import t, { type Test } from 'tap'
import { Type } from 'typebox'
import { defineAgent } from '../../lib/agents/define-agent.ts'
import { metricDefinitions } from '../../lib/context/metric-definitions.ts'
import { defineTool } from '../../lib/tools/define-tool.ts'
import { collectMetrics } from '../support/metric-collection.ts'
import { startOpenAiServer, type OpenAiReply } from '../support/openai-server.ts'
import { createScriptedModel } from '../support/scripted-model.ts'
import { startServer } from '../support/start-server.ts'

const { tokenUsage, modelDuration, agentDuration, toolDuration } = metricDefinitions
const metrics = collectMetrics(t)
const failing = defineTool({
  name: 'failing', description: 'Fails', input: Type.Object({}), async execute () { throw new RangeError('on purpose') }
})

/** A server whose model is an endpoint that gives these replies, and a socket in a thread. */
async function startWith (t: Test, model: string, replies: readonly OpenAiReply[]) {
  const endpoint = await startOpenAiServer(replies)
  t.teardown(() => endpoint.close())
  const server = await startServer(t, {
    agents: [defineAgent({ name: 'helper', instructions: 'Help', tools: ['current_time', failing] })],
    env: { MODEL: `compatible:${model}`, OPENAI_COMPATIBLE_BASE_URL: endpoint.baseUrl }
  })
  return { endpoint, socket: await server.connect('alice', { thread: await server.thread('alice') }) }
}

t.test('each call of a model tells its tokens and its duration, by the GenAI conventions', async (t) => {
  const { socket, endpoint } = await startWith(t, 'small', [{ tool: 'current_time', input: { time_zone: 'UTC' } }, { text: 'It is late.' }])
  const startedAt = performance.now()

  await socket.chat('What time is it?', { agent: 'helper' })
  const measured = await metrics.until((found) => found.value(modelDuration.name, { 'gen_ai.request.model': 'small' }) === 2)

  t.equal(endpoint.requests.length, 2)
  const labels = {
    'gen_ai.operation.name': 'chat', 'gen_ai.provider.name': 'openai-compatible.chat', 'gen_ai.request.model': 'small', 'gen_ai.response.model': 'served'
  }
  t.same(measured.points(tokenUsage.name).map((point) => point.labels), [
    { ...labels, 'gen_ai.token.type': 'input' }, { ...labels, 'gen_ai.token.type': 'output' }
  ])
  t.equal(measured.total(tokenUsage.name, { 'gen_ai.token.type': 'input' }), 2 * 7)
  t.equal(measured.total(tokenUsage.name, { 'gen_ai.token.type': 'output' }), 2 * 3)
  t.same(measured.points(modelDuration.name).map((point) => point.labels), [labels])
  t.ok(measured.total(modelDuration.name) < (performance.now() - startedAt) / 1_000, 'in seconds')
  t.match(measured.data(tokenUsage.name)?.descriptor, { unit: '{token}' })
  t.match(measured.data(modelDuration.name)?.descriptor, { unit: 's' })
  t.match(measured.points(tokenUsage.name)[0]?.value, { buckets: { boundaries: [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864] } })
  t.match(measured.points(modelDuration.name)[0]?.value, { buckets: { boundaries: [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92] } })
})

t.test('a call that fails has the kind of its error, and no tokens, which nobody has counted', async (t) => {
  const { socket } = await startWith(t, 'refusing', [{ status: 400, message: 'no' }])

  await socket.chat('Hello?', { agent: 'helper' })
  const measured = await metrics.until((found) => found.value(modelDuration.name, { 'gen_ai.request.model': 'refusing' }) > 0)

  t.equal(measured.value(modelDuration.name, { 'gen_ai.request.model': 'refusing', 'error.type': 'AI_APICallError' }), 1)
  t.equal(measured.value(tokenUsage.name, { 'gen_ai.request.model': 'refusing' }), 0)
})

t.test('a stream that breaks off counts as a failure, and one that is stopped does not', async (t) => {
  const { socket } = await startWith(t, 'cut', [{ text: 'Well', ending: 'disconnect' }, { text: 'And', ending: 'hang' }])

  await socket.chat('Hello?', { agent: 'helper' })
  const stopped = socket.chat('Go on', { agent: 'helper' })
  await socket.until('agent_delta', ({ payload }) => payload.text.startsWith('And'))
  await socket.ask({ type: 'stop_agent', payload: {} })
  await stopped
  const measured = await metrics.until((found) => found.value(modelDuration.name, { 'gen_ai.request.model': 'cut' }) === 2)

  const failures = measured.points(modelDuration.name).filter(({ labels }) => labels['gen_ai.request.model'] === 'cut').map(({ labels }) => labels['error.type'])
  // kill: leave `call.fail(reason)` out of lib/engine/chat-span.ts
  t.same(failures, ['AI_APICallError', undefined])
})

t.test('each tool tells its duration; one that there is not has no label of its own, whatever a model calls it', async (t) => {
  const { socket } = await startWith(t, 'tooling', [
    { tool: 'current_time', input: { time_zone: 'UTC' } }, { tool: 'failing', input: {} }, { tool: 'made_up_by_a_model', input: {} }, { text: 'Done' }
  ])
  const before = await metrics.read()

  await socket.chat('Do it', { agent: 'helper' })
  const measured = await metrics.until((found) => found.value(agentDuration.name) > before.value(agentDuration.name))

  const labels = { 'gen_ai.tool.type': 'function', 'gen_ai.agent.name': 'helper' }
  const told = (tool: Record<string, string>): number => measured.value(toolDuration.name, { ...labels, ...tool }) - before.value(toolDuration.name, { ...labels, ...tool })
  t.equal(told({ 'gen_ai.tool.name': 'current_time' }), 1)
  t.equal(told({ 'gen_ai.tool.name': 'failing', 'error.type': 'THREADLINE_TOOL_FAILED' }), 1)
  t.equal(told({ 'gen_ai.tool.name': '_OTHER', 'error.type': 'THREADLINE_TOOL_NOT_FOUND' }), 1)
  t.notMatch(JSON.stringify(measured.points(toolDuration.name)), /made_up/)
  t.match(measured.points(toolDuration.name)[0]?.value, { buckets: { boundaries: [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92] } })
  t.match(measured.points(agentDuration.name)[0]?.value, { buckets: { boundaries: [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4, 204.8, 409.6] } })
})

t.test('the call that gives a thread its title is measured as any other', async (t) => {
  const { model, calls } = createScriptedModel('titles')
  const server = await startServer(t, { models: { titles: model }, env: { TITLE_MODEL: 'titles' } })
  const socket = await server.connect('alice', { thread: await server.thread('alice') })

  await socket.chat('What is it about?', { agent: 'echo' })
  const call = await calls.next()
  call.say('A title')
  await socket.until('thread_updated')
  const measured = await metrics.until((found) => found.value(modelDuration.name, { 'gen_ai.request.model': 'titles' }) === 1)

  t.equal(measured.total(tokenUsage.name, { 'gen_ai.request.model': 'titles', 'gen_ai.response.model': 'titles-2026' }), 7 + 3)
})
