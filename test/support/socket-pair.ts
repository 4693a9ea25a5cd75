import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { WebSocket, WebSocketServer } from 'ws'
import { createArrivals, type Arrivals } from './arrivals.ts'

interface Test {
  teardown (fn: () => Promise<void>): void
}

export interface SocketPair {
  /** The server's end. */
  readonly server: WebSocket
  readonly client: WebSocket
  /** Texts that the client has received. */
  readonly received: Arrivals<string>
  /** How each end was closed, once it was. */
  readonly serverClosed: Promise<Closing>
  readonly clientClosed: Promise<Closing>
}

export interface Closing { readonly code: number, readonly reason: string }

/** Both ends of a WebSocket over loopback, open; closed with the test. */
export async function openSocketPair (t: Test): Promise<SocketPair> {
  const listener = new WebSocketServer({ host: '127.0.0.1', port: 0 })
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo // it listens on TCP
  const accepted = once(listener, 'connection') as Promise<[WebSocket]>
  const client = new WebSocket(`ws://127.0.0.1:${port}`)
  const received = createArrivals<string>()
  client.on('message', (data: Buffer) => { received.push(data.toString('utf8')) })
  const [[server]] = await Promise.all([accepted, once(client, 'open')])
  t.teardown(async () => {
    client.terminate()
    server.terminate()
    await new Promise((resolve) => { listener.close(resolve) })
  })
  return { server, client, received, serverClosed: closingOf(server), clientClosed: closingOf(client) }
}

async function closingOf (socket: WebSocket): Promise<Closing> {
  const [code, reason] = await once(socket, 'close') as [number, Buffer]
  return { code, reason: reason.toString('utf8') }
}
