import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

export interface Balancer {
  /** `http://127.0.0.1:<port>` */
  readonly url: string
  /** Takes no connection any more. Those that there are end with their server. */
  readonly close: () => void
}

/**
 * Hands connections to the servers on these ports of loopback, to one after the other, as a balancer without sticky sessions would: whoever opens two
 * is on two nodes. It knows bytes only, and ends each side when the other has ended.
 */
export async function startBalancer (ports: readonly number[]): Promise<Balancer> {
  let taken = 0
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const port = ports[taken++ % ports.length] ?? 0
    join(client, connect({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo // it listens on a port

  return {
    url: `http://127.0.0.1:${port}`,
    close: () => { server.close() }
  }
}

// What one side has said before it ended, or was cut off, still reaches the other.
function join (client: Socket, server: Socket): void {
  for (const [from, to] of [[client, server], [server, client]] as const) {
    from.pipe(to)
    from.on('error', () => { /* told by the close */ })
    from.on('close', () => { to.destroySoon() })
  }
}
