import type { TestServer } from './start-server.ts'

export interface HttpAnswer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** The text as JSON; undefined when it is none. */
  readonly body: unknown
}

export type HttpClient = (method: string, path: string, body?: unknown) => Promise<HttpAnswer>

/** HTTP as a user of the server, with a token of their own. */
export async function httpClient (server: Pick<TestServer, 'url' | 'token'>, user: string): Promise<HttpClient> {
  const token = await server.token(user)
  return async (method, path, body) => {
    const response = await fetch(`${server.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) })
    })
    const text = await response.text()
    const isJson = text !== '' && response.headers.get('content-type')?.startsWith('application/json') === true
    return { status: response.status, headers: response.headers, text, body: isJson ? JSON.parse(text) : undefined }
  }
}

/** What an answer tells but for the id of its request, byte for byte, with its status: to compare two refusals. */
export function withoutRequestId ({ status, text }: HttpAnswer): string {
  return `${status} ${text.replace(/"request_id":"[^"]+"/, '"request_id":""')}`
}
