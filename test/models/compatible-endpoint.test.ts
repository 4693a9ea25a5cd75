import t, { type Test } from 'tap'
import { isStepCount, jsonSchema, streamText, tool, type TextStreamPart, type ToolSet } from 'ai'
import { createIdentity } from '../../lib/context/identity.ts'
import { enterThread } from '../../lib/context/current-thread.ts'
import { withHop } from '../../lib/context/hop.ts'
import { createModelRegistry, type ModelRegistry } from '../../lib/models/model-registry.ts'
import { newThreadId, toUserId } from '../../lib/protocol/ids.ts'
import { startOpenAiServer, type OpenAiReply, type OpenAiServer } from '../support/openai-server.ts'
import { collectSpans } from '../support/spans.ts'

collectSpans() // with the instrumentation of outgoing requests, as in the server

const atOnce = { 'retry-after-ms': '0' }

const clock = tool({
  inputSchema: jsonSchema<{ zone: string }>({ type: 'object', properties: { zone: { type: 'string' } }, required: ['zone'] }),
  execute: async ({ zone }) => ({ now: '12:00', zone })
})

interface AskOptions {
  readonly prompt?: string
  readonly abortSignal?: AbortSignal
  readonly onPart?: (part: TextStreamPart<ToolSet>) => void
}

interface Endpoint {
  readonly server: OpenAiServer
  readonly models: ModelRegistry
  readonly ask: (options?: AskOptions) => Promise<string>
}

/** A model behind a real HTTP server; `ask` gives its text, or throws as the engine does. */
async function startEndpoint (t: Test, ...replies: readonly OpenAiReply[]): Promise<Endpoint> {
  const server = await startOpenAiServer(replies)
  t.teardown(async () => { await server.close() })
  const models = createModelRegistry({
    model: 'compatible:qwen3', openaiCompatibleBaseUrl: server.baseUrl, openaiCompatibleApiKey: 'key-0000'
  })

  async function ask ({ prompt = 'Hello', abortSignal, onPart }: AskOptions = {}): Promise<string> {
    const result = streamText({
      model: models.resolve('default'), prompt, tools: { clock }, stopWhen: isStepCount(4), onError () {},
      ...(abortSignal === undefined ? {} : { abortSignal })
    })
    let text = ''
    for await (const part of result.stream) {
      onPart?.(part)
      if (part.type === 'text-delta') text += part.text
      if (part.type === 'error') throw models.toError(part.error)
      if (part.type === 'abort') abortSignal?.throwIfAborted()
    }
    return text
  }

  return { server, models, ask }
}

t.test('a compatible endpoint streams its text and usage', async (t) => {
  const { server, ask } = await startEndpoint(t, { text: 'Good morning to you' })
  const parts: TextStreamPart<ToolSet>[] = []

  const text = await ask({ onPart: (part) => parts.push(part) })

  t.equal(text, 'Good morning to you')
  t.equal(parts.filter((part) => part.type === 'text-delta').length, 4)
  t.match(parts.at(-1), { type: 'finish', finishReason: 'stop', totalUsage: { inputTokens: 7, outputTokens: 3 } })
  t.match(server.requests, [{
    path: '/v1/chat/completions', headers: { authorization: 'Bearer key-0000' },
    body: { model: 'qwen3', stream: true, messages: [{ role: 'user', content: 'Hello' }], tools: [{ function: { name: 'clock' } }] }
  }])
})

t.test('a tool call makes its round trip', async (t) => {
  const { server, ask } = await startEndpoint(t, { tool: 'clock', input: { zone: 'CET' }, id: 'call_7' }, { text: 'It is noon' })

  const text = await ask({ prompt: 'What time is it?' })

  t.equal(text, 'It is noon')
  t.match(server.requests[1]?.body.messages, [
    { role: 'user' },
    { role: 'assistant', tool_calls: [{ id: 'call_7', function: { name: 'clock', arguments: '{"zone":"CET"}' } }] },
    { role: 'tool', tool_call_id: 'call_7', content: '{"now":"12:00","zone":"CET"}' }
  ])
})

t.test('a refused key fails at once, without telling it', async (t) => {
  const { server, ask } = await startEndpoint(t, { status: 401, message: 'Incorrect API key provided: key-0000' })

  await t.rejects(ask(), {
    code: 'THREADLINE_MODEL_FAILED', message: 'The model provider refused this server',
    cause: { message: 'Incorrect API key provided: [key]' }
  })

  t.equal(server.requests.length, 1)
})

t.test('a busy or broken endpoint is asked again, and then fails', async (t) => {
  for (const [status, message] of [[429, 'The model provider is busy'], [500, 'The model provider answered with status 500']] as const) {
    const { server, ask } = await startEndpoint(t, { status, message: 'Not now', headers: atOnce })

    await t.rejects(ask(), { code: 'THREADLINE_MODEL_FAILED', message, retryable: true })

    t.equal(server.requests.length, 3)
  }
})

t.test('an endpoint that recovers is not noticed', async (t) => {
  const { ask } = await startEndpoint(t, { status: 503, message: 'Not now', headers: atOnce }, { text: 'Here I am' })

  t.equal(await ask(), 'Here I am')
})

t.test('an error within the stream fails', async (t) => {
  const { ask } = await startEndpoint(t, { text: 'As I was', ending: 'error' })

  await t.rejects(ask(), { code: 'THREADLINE_MODEL_FAILED', cause: { message: 'The engine is overloaded' } })
})

t.test('a connection that breaks within the stream fails, and is not taken for the end', async (t) => {
  const { models, ask } = await startEndpoint(t, { text: 'As I was', ending: 'disconnect' })

  const error = await ask().catch((thrown: unknown) => models.toError(thrown))

  t.match(error, { code: 'THREADLINE_MODEL_FAILED', message: 'The connection to the model provider broke' })
})

t.test('an abort closes the connection to the endpoint', async (t) => {
  const { server, ask } = await startEndpoint(t, { text: 'As I was', ending: 'hang' })
  const abort = new AbortController()

  const answer = ask({ abortSignal: abort.signal, onPart: (part) => { if (part.type === 'text-delta') abort.abort() } })

  await t.rejects(answer, { name: 'AbortError' })
  await server.requests[0]?.disconnected
})

// Kill: add `headers: { baggage: 'x' }` to createOpenAICompatible's settings in model-registry.ts.
t.test('a request to a model carries the trace, and nothing of the identity', async (t) => {
  const { server, ask } = await startEndpoint(t, { text: 'Good morning' })
  const identity = createIdentity({ userId: toUserId('alice@example.com'), threadId: newThreadId() })

  await enterThread(identity, async () => await withHop('engine', {}, async () => await ask()))

  const [request] = server.requests
  t.match(request?.headers.traceparent, /^00-/)
  t.equal(request?.headers.baggage, undefined)
  t.notMatch(JSON.stringify([request?.path, request?.headers, request?.body]), new RegExp(`alice|${identity.threadId}|${identity.requestId}`))
})
