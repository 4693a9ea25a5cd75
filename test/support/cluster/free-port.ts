import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'

/** A port of loopback on which nothing listens, for a server that has to come back to it. */
export async function findFreePort (): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo // listens on TCP
  server.close()
  await once(server, 'close')
  return port
}
