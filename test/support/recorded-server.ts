import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'

export interface RecordedServer {
  readonly url: string
  /** What was asked for, in order. */
  readonly asked: readonly URL[]
}

/** Answers as somebody else was recorded to. Closed with the test. */
export async function startRecordedServer (
  t: Test, answer: (url: URL, response: ServerResponse, request: IncomingMessage) => void
): Promise<RecordedServer> {
  const asked: URL[] = []
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://localhost')
    asked.push(url)
    answer(url, response, request)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close().closeAllConnections() })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked } // listens on TCP
}

/** Jaeger calls its JSON plain text. */
export function recordedAnswer (response: ServerResponse, body: Buffer | string, status = 200, type = 'text/plain; charset=utf-8'): void {
  response.writeHead(status, { 'content-type': type }).end(body)
}
