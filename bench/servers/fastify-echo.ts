import { listenWithFastify } from '../support/fastify-sockets.ts'
import { serveMeasured } from '../support/measured-server.ts'

/** The same behind `@fastify/websocket`. */
serveMeasured(async () => await listenWithFastify((socket, data) => { socket.send(data, { binary: false }) }))
