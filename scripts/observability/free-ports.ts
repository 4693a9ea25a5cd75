import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'

/** So many ports of loopback that nobody listens on now, for programs that cannot be asked which one they took. */
export async function findFreePorts (count: number): Promise<readonly number[]> {
  const servers = await Promise.all(Array.from({ length: count }, async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    return server
  }))
  const ports = servers.map((server) => (server.address() as AddressInfo).port) // listens on TCP
  await Promise.all(servers.map(async (server) => {
    server.close()
    await once(server, 'close')
  }))
  return ports
}
