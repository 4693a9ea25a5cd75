import { SpanKind, trace, type SpanContext } from '@opentelemetry/api'
import type { RawData, WebSocket } from 'ws'
import { bindThread } from '../context/bind.ts'
import { enterThread, identityAttributes } from '../context/current-thread.ts'
import { createIdentity } from '../context/identity.ts'
import type { Logger } from '../context/logger.ts'
import { isThreadlineError, ThreadlineError, toPublicError } from '../errors.ts'
import type { EventLog } from '../events/event-log.ts'
import type { HandlerTools } from '../handlers/handler.ts'
import type { CloseReason } from '../protocol/close-codes.ts'
import { newConnectionId, type ConnectionId, type ThreadId, type UserId } from '../protocol/ids.ts'
import { ConnectionRegistry } from './connection-registry.ts'
import { Connection } from './connection.ts'
import { createEvent } from './create-event.ts'
import { createHandlerConnection, writeAsHop } from './handler-connection.ts'
import { Inbox } from './inbox.ts'
import { MessageWindow } from './message-window.ts'
import { Outbox } from './outbox.ts'
import { receiveFrame, type ReceiveOptions } from './receive-frame.ts'
import { Subscriptions } from './subscriptions.ts'
import { ThreadMembership } from './thread-membership.ts'
import { TokenClock } from './token-clock.ts'

/** Who connects: authenticated before the upgrade. */
export interface Caller { readonly userId: UserId, readonly expiresAt: Date | null }

export interface GatewayLimits {
  readonly maxConnectionsPerUser: number
  readonly maxConnectionsTotal: number
  readonly maxFrameBytes: number
  readonly maxInboxFrames: number
  readonly maxOutboxBytes: number
  readonly messagesPerWindow: number
  readonly messageWindowMs: number
  readonly heartbeatIntervalMs: number
  readonly heartbeatTimeoutMs: number
  /** How long a connection may say nothing; 0: for ever. */
  readonly idleTimeoutMs: number
  /** How long before a token expires its connections are told. */
  readonly tokenNoticeMs: number
  /** How long a peer may take to answer a close. */
  readonly closeTimeoutMs: number
}

export interface GatewayOptions {
  readonly tools: HandlerTools
  readonly log: EventLog
  readonly logger: Logger
  readonly limits: GatewayLimits
  readonly verifyToken: (token: string) => Promise<{ readonly userId: UserId, readonly expiresAt: Date }>
}

/** The connections of this node: accepts sockets, takes their frames, and lets them go. */
export interface Gateway {
  readonly registry: ConnectionRegistry
  readonly subscriptions: Subscriptions
  /** Throws `THREADLINE_CONNECTION_LIMIT` or `THREADLINE_SHUTTING_DOWN` when the active user cannot connect now. */
  admit (): void
  /**
   * Registers a socket with its thread and listens to it, synchronously: no frame is lost, and none is handled before the client
   * has been told `connection_established`. `threadId` was found to be the user's own. Throws what the registry's `connect` throws, and
   * `THREADLINE_SHUTTING_DOWN`; the socket is then the caller's to close.
   */
  accept (socket: WebSocket, caller: Caller, names: { threadId?: ThreadId | undefined, connectionId?: ConnectionId | undefined }): ConnectionId
  /** Live state, which is all zero when everybody has left. */
  readonly load: { readonly connections: number, readonly users: number, readonly followedThreads: number, readonly windows: number }
  /** Closes all sockets with 1001, and resolves when they are gone, or cut off after the time limit. */
  drain (): Promise<void>
}

type Incoming = { readonly text: string } | 'establish'

const tracer = trace.getTracer('threadline')

export function createGateway (options: GatewayOptions): Gateway {
  const { tools, log, logger, limits } = options
  const registry = new ConnectionRegistry({ perUser: limits.maxConnectionsPerUser, total: limits.maxConnectionsTotal })
  const subscriptions = new Subscriptions({ registry, log, logger })
  const membership = new ThreadMembership(registry, subscriptions)
  const window = new MessageWindow({ limit: limits.messagesPerWindow, windowMs: limits.messageWindowMs })
  const open = new Map<Connection, Promise<void>>()
  let draining = false

  const patience = { silentMs: limits.heartbeatIntervalMs + limits.heartbeatTimeoutMs, idleMs: limits.idleTimeoutMs }
  const heartbeat = setInterval(() => {
    registry.forEach((connection) => { connection.beat(patience) })
    window.sweep()
  }, limits.heartbeatIntervalMs)
  heartbeat.unref()

  function accept (socket: WebSocket, caller: Caller, names: Parameters<Gateway['accept']>[2]): ConnectionId {
    const { userId } = caller
    const { threadId, connectionId = newConnectionId() } = names
    if (draining) throw new ThreadlineError('THREADLINE_SHUTTING_DOWN')
    const identity = createIdentity({ userId, threadId, connectionId })
    const handshake = recordHandshake(identity)
    return enterThread(identity, () => {
      const outbox = new Outbox(socket, { maxBytes: limits.maxOutboxBytes, closeTimeoutMs: limits.closeTimeoutMs })
      const connection = new Connection({ connectionId, userId, threadId, outbox, handshake, maxHeld: limits.maxInboxFrames * 4 })
      registry.connect({ userId, connectionId }, () => connection)
      listen(connection, socket, caller)
      return connectionId
    }, { parent: handshake })
  }

  /** Ties the socket's events to the connection. Each listener is bound, because an emitter calls it in whatever context it has. */
  function listen (connection: Connection, socket: WebSocket, caller: Caller): void {
    const clock = watchToken(connection)
    const receiving: ReceiveOptions = {
      tools,
      window,
      logger,
      handlerConnection: (from, replyTo, received) => createHandlerConnection({
        connection: from,
        registry,
        membership,
        replyTo,
        received,
        verifyToken: options.verifyToken,
        renewed: (expiresAt) => { clock.set(expiresAt) }
      })
    }
    const establishing = bindThread(() => establish(connection, caller, clock))
    const inbox = new Inbox<Incoming>({
      limit: limits.maxInboxFrames,
      work: (frame) => frame === 'establish' ? establishing() : receiveFrame(connection, frame.text, receiving),
      failed: bindThread((err: unknown) => {
        logger.error({ err }, 'a connection failed')
        inbox.close()
        connection.close(isThreadlineError(err, 'THREADLINE_STORAGE_UNAVAILABLE') ? 'notReady' : 'internal')
      })
    })
    const gone = Promise.withResolvers<void>()
    open.set(connection, gone.promise)
    inbox.push('establish')
    socket.on('message', bindThread((data: RawData, isBinary: boolean) => { takeFrame(connection, inbox, data, isBinary) }))
    socket.on('pong', () => { connection.heard() })
    socket.on('error', bindThread((err: Error) => { logger.warn({ err }, 'a socket failed') }))
    socket.on('close', bindThread(() => {
      connection.closed()
      inbox.close()
      clock.stop()
      membership.remove(connection)
      open.delete(connection)
      gone.resolve()
    }))
  }

  function watchToken (connection: Connection): TokenClock {
    return new TokenClock({
      noticeMs: limits.tokenNoticeMs,
      expiring: bindThread((at: Date) => { writeAsHop(connection, createEvent('token_expiring', { expires_at: at.toISOString() })) }),
      expired: bindThread(() => { refuse(connection, new ThreadlineError('THREADLINE_TOKEN_EXPIRED'), 'notAuthenticated') })
    })
  }

  /**
   * The first word to a client: who it is, where it is, and from which position live events follow. Only then its token is watched, of
   * which it could be told at once.
   */
  async function establish (connection: Connection, { expiresAt }: Caller, clock: TokenClock): Promise<void> {
    const tell = (sequence: number): void => {
      writeAsHop(connection, createEvent('connection_established', {
        connection_id: connection.connectionId,
        user_id: connection.userId,
        thread_id: connection.threadId ?? null,
        token_expires_at: expiresAt?.toISOString() ?? null,
        sequence,
        epoch: tools.storage.epoch
      }))
      connection.open()
      if (expiresAt !== null) clock.set(expiresAt)
    }
    const { threadId } = connection
    if (threadId === undefined) return tell(0)
    await membership.enter(connection, async () => {
      const sequence = await tools.storage.threads.lastSequence(threadId)
      return { sequence, tell: () => { tell(sequence) } }
    })
  }

  function takeFrame (connection: Connection, inbox: Inbox<Incoming>, data: RawData, isBinary: boolean): void {
    connection.spoke()
    if (!connection.active) return
    const bytes = toBuffer(data)
    if (isBinary) return refuseFrame(connection, new ThreadlineError('THREADLINE_BAD_JSON', 'Frames are text'), 'badFrame')
    if (bytes.byteLength > limits.maxFrameBytes) return refuseFrame(connection, new ThreadlineError('THREADLINE_BODY_TOO_LARGE'), 'tooLarge')
    if (inbox.push({ text: bytes.toString('utf8') })) return
    refuseFrame(connection, new ThreadlineError('THREADLINE_RATE_LIMITED', 'Too many messages wait to be handled'))
  }

  /** A frame that is not even read is a request of its own as well. It is told in the trace of the handshake, having none. */
  function refuseFrame (connection: Connection, error: ThreadlineError, reason?: CloseReason): void {
    const { userId, connectionId, threadId, handshake } = connection
    enterThread(createIdentity({ userId, connectionId, threadId }), () => { refuse(connection, error, reason) }, { parent: handshake })
  }

  function refuse (connection: Connection, error: ThreadlineError, reason?: CloseReason): void {
    logger.warn({ code: error.code }, reason === undefined ? 'a message was not taken' : 'a connection is closed')
    writeAsHop(connection, createEvent('error', toPublicError(error)))
    if (reason !== undefined) connection.close(reason)
  }

  return {
    registry,
    subscriptions,
    accept,
    admit () {
      if (draining) throw new ThreadlineError('THREADLINE_SHUTTING_DOWN')
      if (!registry.hasRoom()) throw new ThreadlineError('THREADLINE_CONNECTION_LIMIT')
    },
    get load () {
      return { connections: registry.size, users: registry.users, followedThreads: subscriptions.size, windows: window.size }
    },
    async drain () {
      draining = true
      clearInterval(heartbeat)
      const gone = [...open.values()]
      for (const connection of open.keys()) connection.close('drain')
      await Promise.all(gone)
    }
  }
}

/** The handshake's own span, ended at once: messages are linked to it, and none of them hangs below it. */
function recordHandshake (identity: Parameters<typeof identityAttributes>[0]): SpanContext {
  const span = tracer.startSpan('socket.handshake', { kind: SpanKind.SERVER, attributes: identityAttributes(identity), root: true })
  span.end()
  return span.spanContext()
}

function toBuffer (data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data)
}
