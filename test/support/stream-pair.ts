import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { openStream, type HttpAnswer, type TestStream } from './test-stream.ts'

interface Test {
  teardown (fn: () => Promise<void>): void
}

export interface StreamPair {
  /** The server's end, nothing written. */
  readonly response: ServerResponse
  /** What the client gets. */
  readonly answered: Promise<TestStream | HttpAnswer>
}

/** A request over loopback that waits for its answer; closed with the test. */
export async function openStreamPair (t: Test): Promise<StreamPair> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo // it listens on TCP
  t.teardown(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => { server.close(resolve) })
  })
  const arrived = once(server, 'request') as Promise<[IncomingMessage, ServerResponse]>
  const answered = openStream(`http://127.0.0.1:${port}`)
  const [, response] = await arrived
  return { response, answered }
}
