import { once } from 'node:events'
import { WebSocketServer } from 'ws'
import { serveMeasured } from '../support/measured-server.ts'

/** `ws` and nothing else. */
serveMeasured(async () => {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false })
  server.on('connection', (socket) => {
    socket.on('message', (data: Buffer) => { socket.send(data, { binary: false }) })
  })
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('It listens on a port')
  return { url: `ws://127.0.0.1:${address.port}`, offers: [] }
})
