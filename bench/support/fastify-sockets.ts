import websocket from '@fastify/websocket'
import Fastify from 'fastify'
import type { RawData, WebSocket } from 'ws'
import type { ServerAddress } from './measured-server.ts'

/** A Fastify with one socket route, listening on loopback. `receive` is given each frame. */
export async function listenWithFastify (receive: (socket: WebSocket, data: RawData) => void): Promise<ServerAddress> {
  const app = Fastify()
  await app.register(websocket, { options: { perMessageDeflate: false } })
  app.get('/', { websocket: true }, (socket) => {
    socket.on('message', (data: RawData) => { receive(socket, data) })
  })
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  return { url: url.replace('http', 'ws'), offers: [] }
}
