import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'

export interface OpenAiRequest {
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: {
    readonly model: string
    readonly stream?: boolean
    readonly messages: readonly { readonly role: string, readonly content?: unknown, readonly tool_calls?: unknown, readonly tool_call_id?: string }[]
    readonly tools?: readonly unknown[]
  }
  /** Settles when the client has closed the connection before the answer's end. */
  readonly disconnected: Promise<void>
}

/** What the server answers to one request. */
export type OpenAiReply =
  | { readonly text: string }
  | { readonly tool: string, readonly input: unknown, readonly id?: string }
  | { readonly status: number, readonly message: string, readonly headers?: Readonly<Record<string, string>> }
  /** Streams this text, then cuts the connection. */
  | { readonly text: string, readonly ending: 'disconnect' }
  /** Streams this text, then an error as providers do in a stream. */
  | { readonly text: string, readonly ending: 'error' }
  /** Streams this text, then nothing. */
  | { readonly text: string, readonly ending: 'hang' }

export interface OpenAiServer {
  readonly baseUrl: string
  readonly requests: readonly OpenAiRequest[]
  close (): Promise<void>
}

/**
 * A server that speaks the streaming form of OpenAI's chat completions over real HTTP. It gives the replies in order, and the
 * last one again and again. Source: https://platform.openai.com/docs/api-reference/chat-streaming
 */
export async function startOpenAiServer (replies: readonly OpenAiReply[]): Promise<OpenAiServer> {
  const requests: OpenAiRequest[] = []
  const server = createServer((request, response) => {
    void answer(request, response).catch((error: unknown) => { response.destroy(error as Error) })
  })

  async function answer (request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = JSON.parse(Buffer.concat(await Array.fromAsync(request)).toString()) as OpenAiRequest['body'] // a client under test
    const disconnected = once(response, 'close').then(() => undefined)
    const reply = replies[Math.min(requests.length, replies.length - 1)] ?? { text: '' }
    requests.push({ path: request.url ?? '', headers: request.headers, body, disconnected })
    if ('status' in reply) fail(response, reply)
    else stream(response, reply)
  }

  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo // it listens on a port
  return {
    baseUrl: `http://127.0.0.1:${port}/v1`,
    requests,
    async close () {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    }
  }
}

function fail (response: ServerResponse, { status, message, headers }: Extract<OpenAiReply, { status: number }>): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers })
  response.end(JSON.stringify({ error: { message, type: 'error', code: status } }))
}

function stream (response: ServerResponse, reply: Exclude<OpenAiReply, { status: number }>): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  const deltas = 'tool' in reply ? toolDeltas(reply) : textDeltas(reply.text)
  for (const delta of deltas) sendChunk(response, { delta, finish_reason: null })
  switch ('ending' in reply ? reply.ending : 'finish') {
    case 'hang': return
    case 'disconnect':
      // Written out first, or the cut would take the text with it.
      response.write(': cut\n\n', () => { response.destroy() })
      return
    case 'error':
      response.end('data: {"error":{"message":"The engine is overloaded","type":"server_error","code":503}}\n\n')
      return
    case 'finish':
      sendChunk(response, { delta: {}, finish_reason: 'tool' in reply ? 'tool_calls' : 'stop' })
      send(response, { choices: [], usage: { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10 } })
      response.end('data: [DONE]\n\n')
  }
}

function textDeltas (text: string): readonly object[] {
  return [{ role: 'assistant', content: '' }, ...(text.match(/\S+\s*/g) ?? []).map((content) => ({ content }))]
}

/** The arguments arrive in two pieces, as they do from a real endpoint. */
function toolDeltas ({ tool, input, id = 'call_1' }: Extract<OpenAiReply, { tool: string }>): readonly object[] {
  const text = JSON.stringify(input)
  const half = Math.ceil(text.length / 2)
  return [
    { role: 'assistant', content: null, tool_calls: [{ index: 0, id, type: 'function', function: { name: tool, arguments: '' } }] },
    { tool_calls: [{ index: 0, function: { arguments: text.slice(0, half) } }] },
    { tool_calls: [{ index: 0, function: { arguments: text.slice(half) } }] }
  ]
}

function sendChunk (response: ServerResponse, choice: object): void {
  send(response, { choices: [{ index: 0, ...choice }] })
}

function send (response: ServerResponse, content: object): void {
  const chunk = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1_700_000_000, model: 'served', ...content }
  response.write(`data: ${JSON.stringify(chunk)}\n\n`)
}
