import t from 'tap'
import { attributes } from '../../lib/context/attributes.ts'
import { startOpenAiServer } from '../support/openai-server.ts'
import { startServer } from '../support/start-server.ts'
import { traceOf } from '../support/trace-of.ts'

t.test('an agent answers through any OpenAI-compatible endpoint, with its tools, and nothing of the identity goes there', async (t) => {
  const endpoint = await startOpenAiServer([{ tool: 'current_time', input: { time_zone: 'Europe/Vienna' } }, { text: 'It is late.' }])
  t.teardown(() => endpoint.close())
  const server = await startServer(t, { env: { MODEL: 'compatible:small', OPENAI_COMPATIBLE_BASE_URL: endpoint.baseUrl } })
  const thread = await server.thread('alice')
  const socket = await server.connect('alice', { thread })

  const completed = await socket.chat('What time is it?')
  const spans = await traceOf(server, completed)

  t.match(completed.payload, { status: 'completed', content: 'It is late.' })
  t.match(socket.ofType('tool_completed'), [{ payload: { tool: 'current_time', success: true } }])
  t.equal(endpoint.requests.length, 2)
  for (const request of endpoint.requests) {
    const sent = JSON.stringify([request.headers, request.body])
    t.notOk([thread, 'alice', completed.run_id].some((id) => sent.includes(String(id))), 'no id of ours is sent')
    t.equal(request.headers['baggage'], undefined)
    t.match(request.headers['traceparent'], new RegExp(spans[0]?.spanContext().traceId ?? 'none'))
  }
  const chats = spans.filter(({ name }) => name === 'chat small')
  t.equal(chats.length, 2)
  for (const chat of chats) {
    t.match(chat.attributes, { [attributes.operation]: 'chat', [attributes.requestModel]: 'small', [attributes.threadId]: thread, [attributes.runId]: completed.run_id })
  }

  t.test('a failing endpoint ends the run as failed, and the thread goes on', async (t) => {
    await endpoint.close()

    const failed = await socket.chat('Are you there?', { agent: 'assistant' })
    const echoed = await socket.chat('Anybody?', { agent: 'echo' })

    t.match(failed.payload, { status: 'failed', error: { code: 'THREADLINE_MODEL_FAILED', retryable: true } })
    t.match(echoed.payload, { status: 'completed', content: /Anybody\?/ })
  })
})
