import websocket from '@fastify/websocket'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { isThreadlineError } from '../lib/errors.ts'
import { createGateway, type Gateway } from '../lib/gateway/gateway.ts'
import { closeCodes, type CloseReason } from '../lib/protocol/close-codes.ts'

declare module 'fastify' {
  interface FastifyInstance {
    gateway: Gateway
  }
}

/** How long before a token expires the client is told. */
const tokenNoticeMs = 60_000
/** How long a client may take to answer a close before it is cut off. */
const closeTimeoutMs = 2_000
/** Above this the socket is closed by `ws` itself, with 1009, without having read the frame. */
const hardFrameLimitBytes = 1024 * 1024

/**
 * The sockets of this node. When the server closes they are told to come back elsewhere (1001), before anything that they need is
 * closed.
 */
export default fp(async function gateway (app) {
  const { storage, agents, engine, eventLog: log, log: logger, config, authentication, isolation, signer } = app
  const { defaultAgent, maxWaitingRunsPerThread: maxWaitingRuns, maxFrameBytes } = config
  const gateway = createGateway({
    tools: { storage, agents, engine, signer, defaultAgent, maxWaitingRuns, reportIsolation: isolation.report },
    log,
    ...app.node.hasPeers ? { bus: app.bus, sharedLimits: { redis: app.redis, store: storage.limits } } : {},
    logger,
    limits: { ...limitsOf(config), tokenNoticeMs, closeTimeoutMs },
    verifyToken: authentication.verifyToken
  })

  gateway.onSent(isolation.sent)
  app.decorate('gateway', gateway)
  app.addHook('preClose', async () => { await gateway.drain() })
  await app.register(websocket, {
    options: { maxPayload: Math.max(maxFrameBytes, hardFrameLimitBytes), perMessageDeflate: false },
    errorHandler: (err, socket) => {
      if (socket.readyState !== socket.OPEN) return // it failed later: `ws` is closing it, and the gateway has logged it
      const reason = reasonOf(err)
      if (reason === 'internal') logger.error({ err }, 'a socket could not be accepted')
      socket.close(closeCodes[reason], reason)
    }
  })
}, { name: 'gateway', fastify: '5.x', dependencies: ['config', 'node', 'signing', 'storage', 'redis', 'bus', 'event-log', 'agents', 'engine', 'authentication', 'isolation'] })

/** For what was found after the upgrade, when no status can be given: two handshakes may both have found room for the last connection. */
function reasonOf (err: unknown): CloseReason {
  if (isThreadlineError(err, 'THREADLINE_CONNECTION_LIMIT')) return err.retryAfterMs === undefined ? 'limits' : 'notReady'
  if (isThreadlineError(err, 'THREADLINE_SHUTTING_DOWN')) return 'drain'
  return 'internal'
}

function limitsOf (config: FastifyInstance['config']) {
  const {
    maxConnectionsPerUser, maxConnectionsTotal, maxFrameBytes, maxInboxFrames, maxOutboxBytes, messagesPerWindow, messageWindowMs,
    heartbeatIntervalMs, heartbeatTimeoutMs, peerTimeoutMs, idleTimeoutMs
  } = config
  return {
    maxConnectionsPerUser, maxConnectionsTotal, maxFrameBytes, maxInboxFrames, maxOutboxBytes, messagesPerWindow, messageWindowMs,
    heartbeatIntervalMs, heartbeatTimeoutMs, peerTimeoutMs, idleTimeoutMs
  }
}
