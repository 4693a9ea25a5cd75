import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { WebSocketServer, type WebSocket } from 'ws'
import { createGateway, type Gateway, type GatewayLimits, type GatewayOptions } from '../../lib/gateway/gateway.ts'
import type { Position } from '../../lib/gateway/resume.ts'
import type { HandlerTools } from '../../lib/handlers/handler.ts'
import { toConnectionId, toThreadId, toUserId } from '../../lib/protocol/ids.ts'
import type { TestServer } from './start-server.ts'
import { openSocket, TestSocket } from './test-socket.ts'

interface Test {
  teardown (fn: () => Promise<void> | void): void
}

interface Exchanged {
  /** Where it is one of several nodes. */
  readonly bus?: GatewayOptions['bus']
  readonly sharedLimits?: GatewayOptions['sharedLimits']
  readonly tools?: Partial<HandlerTools>
  readonly log?: GatewayOptions['log']
  readonly limits?: Partial<GatewayLimits>
  readonly verifyToken?: GatewayOptions['verifyToken']
}

export interface OwnGateway {
  readonly gateway: Gateway
  /** An open socket of the user, with what a handshake would have found. */
  readonly connect: (user: string, found?: { thread?: string, connectionId?: string, expiresAt?: Date, position?: Position }) => Promise<TestSocket>
  /** The server's end of the newest socket. */
  readonly newest: () => WebSocket
}

/**
 * A second gateway over the parts of a running server, on real sockets of its own, with whatever the test exchanges. It trusts the user
 * that the address names. Drained with the test.
 */
export async function startGateway (t: Test, { app }: TestServer, exchanged: Exchanged = {}): Promise<OwnGateway> {
  const { storage, agents, engine, signer, config, eventLog: log, log: logger } = app
  const gateway = createGateway({
    tools: { storage, agents, engine, signer, defaultAgent: config.defaultAgent, maxWaitingRuns: config.maxWaitingRunsPerThread, reportIsolation: app.isolation.report, ...exchanged.tools },
    log: exchanged.log ?? log,
    bus: exchanged.bus,
    sharedLimits: exchanged.sharedLimits,
    logger,
    limits: { ...config, tokenNoticeMs: 60_000, closeTimeoutMs: 2_000, ...exchanged.limits },
    verifyToken: exchanged.verifyToken ?? app.authentication.verifyToken
  })
  const sockets: WebSocket[] = []
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 })
  server.on('connection', (socket, { url = '/' }) => {
    const { searchParams: named } = new URL(url, 'ws://127.0.0.1')
    const [thread, connectionId, expiresAt, epoch] = [named.get('thread'), named.get('connection'), named.get('expires'), named.get('epoch')]
    sockets.push(socket)
    gateway.accept(socket, { userId: toUserId(named.get('user')), expiresAt: expiresAt === null ? null : new Date(expiresAt) }, {
      threadId: thread === null ? undefined : toThreadId(thread),
      connectionId: connectionId === null ? undefined : toConnectionId(connectionId),
      position: epoch === null ? undefined : { after: Number(named.get('after')), epoch }
    })
  })
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo // it listens on a port
  t.teardown(async () => {
    await gateway.drain()
    server.close()
  })

  return {
    gateway,
    async connect (user, { thread, connectionId, expiresAt, position } = {}) {
      const query = new URLSearchParams({ user })
      const found = { thread, connection: connectionId, expires: expiresAt?.toISOString(), after: position?.after.toString(), epoch: position?.epoch }
      for (const [name, value] of Object.entries(found)) {
        if (value !== undefined) query.set(name, value)
      }
      const socket = await openSocket(`ws://127.0.0.1:${port}/?${query.toString()}`)
      if (!(socket instanceof TestSocket)) throw new Error('Refused')
      t.teardown(() => { socket.drop() })
      return socket
    },
    newest () {
      const socket = sockets.at(-1)
      if (socket === undefined) throw new Error('Nobody has connected')
      return socket
    }
  }
}
