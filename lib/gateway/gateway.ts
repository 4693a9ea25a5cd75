import { SpanKind, trace, type SpanContext } from '@opentelemetry/api'
import type { WebSocket } from 'ws'
import { enterThread, identityAttributes } from '../context/current-thread.ts'
import { createIdentity, type Identity } from '../context/identity.ts'
import type { Logger } from '../context/logger.ts'
import { ThreadlineError } from '../errors.ts'
import type { EventBus } from '../events/event-bus.ts'
import type { EventLog } from '../events/event-log.ts'
import type { HandlerTools } from '../handlers/handler.ts'
import { newConnectionId, type ConnectionId, type ThreadId, type UserId } from '../protocol/ids.ts'
import { Announcements } from './announcements.ts'
import { Attachment, type Caller } from './attachment.ts'
import { ConnectionRegistry } from './connection-registry.ts'
import { Connection } from './connection.ts'
import { createEventStreams, type Attaching, type EventStreams } from './event-streams.ts'
import { createHandlerConnection } from './handler-connection.ts'
import { listenToSocket, takeFrames, type ListenOptions } from './listen-to-socket.ts'
import { MessageWindow, type FrameLimit } from './message-window.ts'
import type { Outbox } from './outbox.ts'
import { Presence } from './presence.ts'
import { Relay } from './relay.ts'
import { Replacement } from './replacement.ts'
import { createRequests, type Requests } from './requests.ts'
import type { Position } from './resume.ts'
import { SentEvents, type SentEventListener } from './sent-events.ts'
import { SharedWindow, type SharedWindowOptions } from './shared-window.ts'
import { SocketOutbox } from './socket-outbox.ts'
import { Subscriptions } from './subscriptions.ts'
import { ThreadMembership } from './thread-membership.ts'

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
  /** How long another node may say nothing until its connections do not count any more. */
  readonly peerTimeoutMs: number
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
  /** Where there are other nodes: what they are told, and told by. */
  readonly bus?: EventBus | undefined
  /** Where there are other nodes: what all of them count a user's frames by. */
  readonly sharedLimits?: Pick<SharedWindowOptions, 'redis' | 'store'> | undefined
  readonly logger: Logger
  readonly limits: GatewayLimits
  readonly verifyToken: (token: string) => Promise<{ readonly userId: UserId, readonly expiresAt: Date }>
}

/** What was found of a connection before it is registered. The thread is the user's own. */
export interface ConnectionNames {
  readonly threadId?: ThreadId | undefined
  readonly connectionId?: ConnectionId | undefined
  /** What the client has seen of the thread: the rest is sent before anything new. */
  readonly position?: Position | undefined
}

/** The connections of this node: accepts sockets, takes their frames, and lets them go. And what is asked for without one. */
export interface Gateway extends Requests, EventStreams {
  readonly registry: ConnectionRegistry
  readonly subscriptions: Subscriptions
  /**
   * Throws `THREADLINE_CONNECTION_LIMIT` or `THREADLINE_SHUTTING_DOWN` when the active user cannot connect now. A connection of the user's that the new one `replaces` is
   * closed with 4409, wherever it is.
   */
  admit (replaces?: ConnectionId): void
  /**
   * Registers a socket with its thread and listens to it, synchronously: no frame is lost, and none is handled before the client
   * has been told `connection_established`. Throws what the registry's `connect` throws, and
   * `THREADLINE_SHUTTING_DOWN`; the socket is then the caller's to close.
   */
  accept (socket: WebSocket, caller: Caller, names: ConnectionNames): ConnectionId
  /**
   * The same for a client that lives in this process, and is told through its outbox: its frames go the way of a socket's. They are
   * taken until the client is gone. Throws what `accept` throws.
   */
  join (outbox: Outbox, caller: Caller, names?: ConnectionNames): JoinedClient
  /** Calls `listener` for each event that is written to a connection. Returns what takes it away again. */
  onSent (listener: SentEventListener): () => void
  /** How many connections other nodes have in a thread of the active user, as far as they have said. */
  elsewhereIn (threadId: ThreadId): number
  /** Live state, which is all zero when everybody has left. `topics` are those of other nodes' messages. */
  readonly load: Readonly<Record<'connections' | 'users' | 'followedThreads' | 'windows' | 'topics', number>>
  /** Closes all sockets with 1001, and resolves when they are gone, or cut off after the time limit. */
  drain (): Promise<void>
}

/** A client in this process, as it sees its own connection. */
export interface JoinedClient {
  readonly connectionId: ConnectionId
  send (frame: string): void
}

const tracer = trace.getTracer('threadline')

export function createGateway (options: GatewayOptions): Gateway {
  const { limits } = options
  const parts = createParts(options)
  const { registry, subscriptions, presence, replacement } = parts
  const heartbeat = startHeartbeat(parts, limits)
  const stopDoubting = options.bus?.onDoubt(() => { void presence.refresh({ ask: true }) })
  let draining = false
  const refuseWhenDraining = (): void => { if (draining) throw new ThreadlineError('THREADLINE_SHUTTING_DOWN') }

  const requests = createRequests({ ...parts, tools: options.tools, admit: refuseWhenDraining })
  const streams = createEventStreams({
    ...options,
    ...parts,
    requests,
    attach: (attaching) => {
      refuseWhenDraining()
      return attach(attaching, parts, options, (attachment) => attachment)
    }
  })

  return {
    ...requests,
    ...streams,
    registry,
    subscriptions,
    onSent: (listener) => parts.sentEvents.listen(listener),
    accept (socket, caller, names) {
      refuseWhenDraining()
      const outbox = new SocketOutbox(socket, { maxBytes: limits.maxOutboxBytes, closeTimeoutMs: limits.closeTimeoutMs })
      return attach({ outbox, caller, names }, parts, options, (attachment) => {
        listenToSocket(socket, listeningTo(attachment, parts, options))
        return attachment.connection.connectionId
      })
    },
    join (outbox, caller, names = {}) {
      refuseWhenDraining()
      return attach({ outbox, caller, names }, parts, options, (attachment) => {
        const { take, close } = takeFrames(listeningTo(attachment, parts, options))
        void outbox.gone.then(close)
        return { connectionId: attachment.connection.connectionId, send: (frame) => { take(Buffer.from(frame)) } }
      })
    },
    admit (replaces) {
      refuseWhenDraining()
      if (replaces !== undefined) replacement.replace(replaces)
      registry.requireRoom()
    },
    elsewhereIn: (threadId) => presence.elsewhereIn(threadId),
    get load () { return loadOf(parts) },
    async drain () {
      draining = true
      clearInterval(heartbeat)
      presence.stop()
      stopDoubting?.()
      await closeAll(parts)
    }
  }
}

function loadOf ({ registry, subscriptions, window, relay }: Parts): Gateway['load'] {
  return { connections: registry.size, users: registry.users, followedThreads: subscriptions.size, windows: window.size, topics: relay.size }
}

/** Resolves when every connection has been forgotten. */
async function closeAll ({ open }: Parts): Promise<void> {
  const forgotten = [...open.values()]
  for (const connection of open.keys()) connection.close('drain')
  await Promise.all(forgotten)
}

interface Parts {
  readonly registry: ConnectionRegistry
  readonly relay: Relay
  readonly presence: Presence
  readonly announcements: Announcements
  readonly subscriptions: Subscriptions
  readonly membership: ThreadMembership
  readonly replacement: Replacement
  readonly window: FrameLimit
  readonly sentEvents: SentEvents
  /** Every connection, until it has been forgotten. */
  readonly open: Map<Connection, Promise<void>>
}

function createWindow ({ logger, sharedLimits, tools: { storage: { epoch } }, limits }: GatewayOptions): FrameLimit {
  const { messagesPerWindow: limit, messageWindowMs: windowMs } = limits
  const local = new MessageWindow({ limit, windowMs })
  return sharedLimits === undefined ? local : new SharedWindow({ ...sharedLimits, local, limit, windowMs, logger, service: epoch })
}

/** After so many heartbeats, a number of connections that another node has not said again does not count any more. */
const peerLifeInHeartbeats = 2.5

function createParts (options: GatewayOptions): Parts {
  const { log, logger, bus, limits, tools: { storage } } = options
  const relay = new Relay({ bus, logger })
  const registry: ConnectionRegistry = new ConnectionRegistry({
    perUser: limits.maxConnectionsPerUser, total: limits.maxConnectionsTotal, elsewhere: () => presence.elsewhere, decidedInMs: () => presence.decidedInMs
  })
  const presence = new Presence({
    bus, relay, registry, lifeMs: limits.heartbeatIntervalMs * peerLifeInHeartbeats, peerTimeoutMs: limits.peerTimeoutMs
  })
  const subscriptions = new Subscriptions({
    log, logger, presence, replayBytes: limits.maxOutboxBytes / 4, replayTimeoutMs: limits.heartbeatIntervalMs + limits.heartbeatTimeoutMs
  })
  const membership = new ThreadMembership({ registry, subscriptions, presence, relay })
  return {
    registry,
    relay,
    presence,
    announcements: new Announcements({ registry, relay, log, storage }),
    subscriptions,
    membership,
    replacement: new Replacement({ registry, membership, relay }),
    window: createWindow(options),
    sentEvents: new SentEvents(logger),
    open: new Map()
  }
}

/**
 * Registers a connection whose events leave through the outbox, and forgets it when its client is gone. `begin` is called in the
 * identity of the handshake, and has the client told where it is. Throws what the registry's `connect` throws.
 */
function attach<T> (
  { outbox, caller, names, hears }: Omit<Attaching, 'names'> & { readonly names: ConnectionNames },
  { registry, presence, membership, subscriptions, sentEvents, open }: Parts, { tools: { storage }, logger, limits }: GatewayOptions, begin: (attachment: Attachment) => T
): T {
  const { userId } = caller
  const { threadId, connectionId = newConnectionId(), position } = names
  const identity = createIdentity({ userId, threadId, connectionId })
  const handshake = recordHandshake(identity)
  return enterThread(identity, () => {
    const connection = new Connection({
      connectionId, userId, threadId, outbox, handshake, maxHeld: limits.maxInboxFrames * 4, hears, sentEvents
    })
    registry.connect({ userId, connectionId }, () => connection)
    presence.connected()
    const { tokenNoticeMs } = limits
    const attachment = new Attachment({
      connection, caller, position, membership, subscriptions, storage, logger, tokenNoticeMs
    })
    open.set(connection, outbox.gone.then(() => {
      attachment.end()
      open.delete(connection)
    }))
    return begin(attachment)
  }, { parent: handshake })
}

function listeningTo (attachment: Attachment, parts: Parts, options: GatewayOptions): ListenOptions {
  const { announcements, membership, subscriptions, window } = parts
  const { tools, logger, verifyToken, limits: { maxFrameBytes, maxInboxFrames } } = options
  const renewed = (expiresAt: Date): void => { attachment.renewed(expiresAt) }
  return {
    attachment,
    receiving: {
      tools,
      window,
      logger,
      handlerConnection: (connection, replyTo, received) => createHandlerConnection({
        connection, announcements, membership, subscriptions, storage: tools.storage, replyTo, received, verifyToken, renewed
      })
    },
    logger,
    maxFrameBytes,
    maxInboxFrames
  }
}

function startHeartbeat ({ registry, presence, window }: Parts, limits: GatewayLimits): NodeJS.Timeout {
  const patience = { silentMs: limits.heartbeatIntervalMs + limits.heartbeatTimeoutMs, idleMs: limits.idleTimeoutMs }
  return setInterval(() => {
    registry.forEach((connection) => { connection.beat(patience) })
    window.sweep()
    void presence.refresh()
  }, limits.heartbeatIntervalMs).unref()
}

/** The handshake's own span, ended at once: messages are linked to it, and none of them hangs below it. */
function recordHandshake (identity: Identity): SpanContext {
  const span = tracer.startSpan('socket.handshake', { kind: SpanKind.SERVER, attributes: identityAttributes(identity), root: true })
  span.end()
  return span.spanContext()
}
