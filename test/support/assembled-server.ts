import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import { WebSocketServer } from 'ws'
import { createAgentRegistry } from '../../lib/agents/agent-registry.ts'
import type { Agent } from '../../lib/agents/define-agent.ts'
import { createEngine, type Engine } from '../../lib/engine/engine.ts'
import { Slots } from '../../lib/engine/slots.ts'
import type { EventLog } from '../../lib/events/event-log.ts'
import { createStoredEventLog } from '../../lib/events/stored-event-log.ts'
import { createGateway, type Gateway } from '../../lib/gateway/gateway.ts'
import { toThreadId, toUserId } from '../../lib/protocol/ids.ts'
import type { Storage } from '../../lib/stores/storage.ts'
import { alone, testSigner } from './engine-parts.ts'
import type { TestServer } from './start-server.ts'
import { openSocket, TestSocket } from './test-socket.ts'

interface Test {
  teardown (fn: () => Promise<void> | void): void
}

export interface AssembledServer {
  readonly engine: Engine
  readonly eventLog: EventLog
  readonly gateway: Gateway
  /** A socket that has been told `connection_established`. Who connects is believed. */
  connect (user: string, options?: { thread?: string }): Promise<TestSocket>
  /** Resolves when the server has seen its only socket close. */
  nextClosed (): Promise<void>
}

const minuteMs = 60_000
const limits = {
  maxConnectionsPerUser: 20,
  maxConnectionsTotal: 100,
  maxFrameBytes: 64 * 1024,
  maxInboxFrames: 64,
  maxOutboxBytes: 1024 * 1024,
  messagesPerWindow: 10_000,
  messageWindowMs: minuteMs,
  heartbeatIntervalMs: minuteMs,
  heartbeatTimeoutMs: minuteMs,
  peerTimeoutMs: minuteMs,
  idleTimeoutMs: 0,
  tokenNoticeMs: minuteMs,
  closeTimeoutMs: 2_000
}

/**
 * Log, engine and gateway of the product over a storage of the test's choice, and a socket server of their own: for what a healthy
 * storage does not do. Models, the storage below and the loggers are those of `server`. Closed with the test.
 */
export async function assembleServer (
  t: Test, server: TestServer, { storage, agents }: { storage: Storage, agents: readonly Agent[] }
): Promise<AssembledServer> {
  const { models, log: logger, authentication } = server.app
  const log = createStoredEventLog({ store: storage.events, epoch: storage.epoch, logger })
  const registry = createAgentRegistry({ agents, models })
  const engine = createEngine({
    ...alone(storage.queue),
    runs: storage.runs,
    threads: storage.threads,
    messages: storage.messages,
    log,
    agents: registry,
    logger,
    slots: new Slots(16),
    runTimeoutMs: minuteMs,
    stepTimeoutMs: minuteMs,
    toolTimeoutMs: minuteMs,
    stepLimit: 8,
    waitNoticeMs: minuteMs
  })
  const defaultAgent = agents[0]?.name ?? ''
  const tools = { storage, agents: registry, engine, signer: testSigner, defaultAgent, maxWaitingRuns: 16, reportIsolation: server.app.isolation.report }
  const gateway = createGateway({ tools, log, logger, limits, verifyToken: authentication.verifyToken })

  const listener = new WebSocketServer({ host: '127.0.0.1', port: 0 })
  listener.on('connection', (socket, request) => {
    const names = new URL(request.url ?? '', 'ws://localhost').searchParams
    const thread = names.get('thread')
    gateway.accept(socket, { userId: toUserId(names.get('user')), expiresAt: null }, { threadId: thread === null ? undefined : toThreadId(thread) })
  })
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo // it listens on a port
  t.teardown(async () => {
    await gateway.drain()
    await engine.close(0)
    await log.close()
    listener.close()
  })

  return {
    engine,
    eventLog: log,
    gateway,
    async connect (user, { thread } = {}) {
      const query = new URLSearchParams({ user, ...(thread === undefined ? {} : { thread }) })
      const socket = await openSocket(`ws://127.0.0.1:${port}/?${query.toString()}`)
      if (!(socket instanceof TestSocket)) throw new Error(`Refused: ${JSON.stringify(socket)}`)
      t.teardown(() => { socket.drop() })
      await socket.until('connection_established')
      return socket
    },
    async nextClosed () {
      const [socket] = listener.clients
      if (socket !== undefined) await once(socket, 'close')
    }
  }
}
