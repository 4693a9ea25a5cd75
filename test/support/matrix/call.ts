import { request, type IncomingMessage } from 'node:http'

export interface Call {
  readonly method: string
  readonly path: string
  readonly token?: string | undefined
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Asks for a WebSocket. */
  readonly upgrade?: boolean | undefined
}

export interface Response {
  readonly status: number
  /** In the order and the spelling in which they came, as `name: value`. */
  readonly headers: readonly string[]
  readonly text: string
}

const upgradeHeaders = {
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-version': '13',
  'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
  'sec-websocket-protocol': 'threadline.v1'
}

/** One request over a connection of its own, and all that came back. Of an event stream that is what came up to its first event. */
export async function call (url: string, { method, path, token, body, headers = {}, upgrade = false }: Call): Promise<Response> {
  return await new Promise((resolve, reject) => {
    const sent = request(new URL(path, url), {
      method,
      agent: false,
      headers: {
        ...(upgrade ? upgradeHeaders : {}),
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers
      }
    })
    sent.once('error', reject)
    sent.once('response', (response) => { collect(response).then(resolve, reject) })
    sent.once('upgrade', (response, socket) => {
      socket.destroy()
      resolve({ ...headOf(response), text: '' })
    })
    sent.end(body === undefined ? undefined : JSON.stringify(body))
  })
}

async function collect (response: IncomingMessage): Promise<Response> {
  const isStream = response.headers['content-type']?.startsWith('text/event-stream') === true
  response.setEncoding('utf8')
  let text = ''
  for await (const chunk of response) {
    text += String(chunk)
    if (isStream && text.includes('data: ')) break // which lets go of the response
  }
  return { ...headOf(response), text }
}

function headOf ({ statusCode = 0, rawHeaders }: IncomingMessage): Omit<Response, 'text'> {
  const headers = rawHeaders.flatMap((name, index) => index % 2 === 0 ? [`${name}: ${rawHeaders[index + 1]}`] : [])
  return { status: statusCode, headers }
}

/**
 * An answer as bytes to compare: all of it, but for what is new in each answer. That is the request's id, the id and the time of an event, the
 * date, the trace, and of the run that a command would have started what follows its thread.
 */
export function comparable ({ status, headers, text }: Response): string {
  const lasting = headers.map((header) => /^(date|x-request-id|traceparent): /i.test(header) ? header.replace(/: .*/, ':') : header)
  return [status, ...lasting, '', comparableText(text)].join('\n')
}

export function comparableText (text: string): string {
  return text
    .replaceAll(/"(request_id|event_id|timestamp|traceparent)":"[^"]*"/g, '"$1":""')
    .replaceAll(/("thread_id":"([^"]+)","run_id":"run_\2_)[^"]+"/g, '$1"')
}
