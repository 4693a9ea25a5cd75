import { currentIdentity } from '../context/current-thread.ts'
import { guard } from '../context/guard.ts'
import { ThreadlineError } from '../errors.ts'
import { isThreadId, newConnectionId, toConnectionId, toUserId, type ConnectionId, type ThreadId, type UserId } from '../protocol/ids.ts'
import type { Connection } from './connection.ts'

export interface ConnectRequest {
  readonly userId: UserId
  /** Made now when the caller does not supply one. */
  readonly connectionId?: ConnectionId | undefined
}

export interface ConnectionInfo {
  readonly connectionId: ConnectionId
  readonly userId: UserId
  readonly threadId: ThreadId | undefined
  readonly active: boolean
  /** ISO 8601, UTC. */
  readonly connectedAt: string
}

export interface ConnectionLimits {
  readonly perUser: number
  readonly total: number
  /** Connections of the active user on other nodes, as far as this one knows. */
  readonly elsewhere?: (() => number) | undefined
  /** In how many ms some of those may turn out to be gone; undefined when there is none. */
  readonly decidedInMs?: (() => number | undefined) | undefined
}

/**
 * The live sockets of this node: the only registry of them. It is asked in the active identity, and knows for it only that
 * user's connections: another user's id, connection or thread is simply not there.
 *
 * `connect` registers a connection, with its thread, synchronously. It throws `THREADLINE_INVALID_CONTEXT` for an empty or malformed
 * id and one that is taken, `THREADLINE_CONTEXT_MISMATCH` for another user's connection, and `THREADLINE_CONNECTION_LIMIT`.
 */
export class ConnectionRegistry {
  readonly #users = new Map<UserId, Map<ConnectionId, Connection>>()
  readonly #limits: ConnectionLimits
  #size = 0

  constructor (limits: ConnectionLimits) {
    this.#limits = limits
  }

  get size (): number { return this.#size }
  get users (): number { return this.#users.size }

  connect (request: ConnectRequest, open: (connectionId: ConnectionId) => Connection): ConnectionId {
    const userId = toUserId(request.userId)
    const connectionId = request.connectionId === undefined ? newConnectionId() : toConnectionId(request.connectionId)
    guard({ userId }, 'connection-registry')
    const own = this.#users.get(userId) ?? new Map<ConnectionId, Connection>()
    if (own.has(connectionId)) {
      throw new ThreadlineError('THREADLINE_INVALID_CONTEXT', 'connection_id is already in use', { field: 'connection_id' })
    }
    this.requireRoom()
    const connection = open(connectionId)
    guard({ userId: connection.userId }, 'connection-registry')
    own.set(connectionId, connection)
    this.#users.set(userId, own)
    this.#size += 1
    return connectionId
  }

  /**
   * Throws `THREADLINE_CONNECTION_LIMIT` when the active user cannot connect once more; asked before the upgrade, so that the refusal can be an answer. Where
   * only connections on other nodes leave no room, the error says when to come again: a node that was killed is known to be gone by then.
   */
  requireRoom (): void {
    const { perUser, total, elsewhere, decidedInMs } = this.#limits
    const here = this.#own()?.size ?? 0
    if (here >= perUser) throw new ThreadlineError('THREADLINE_CONNECTION_LIMIT')
    if (here + (elsewhere?.() ?? 0) >= perUser) throw new ThreadlineError('THREADLINE_CONNECTION_LIMIT', undefined, { retryAfterMs: decidedInMs?.() })
    if (this.#size >= total) throw new ThreadlineError('THREADLINE_CONNECTION_LIMIT', 'The server has too many connections')
  }

  /** False, and nothing happens, when there is no such connection. */
  disconnect (connectionId: ConnectionId): boolean {
    const own = this.#own()
    if (own?.delete(connectionId) !== true) return false
    this.#size -= 1
    if (own.size === 0) this.#users.delete(currentIdentity().userId)
    return true
  }

  getConnectionInfo (connectionId: ConnectionId): ConnectionInfo | undefined {
    const connection = this.#own()?.get(connectionId)
    if (connection === undefined) return undefined
    const { userId, threadId, connectedAt, active } = connection
    return { connectionId, userId, threadId, connectedAt, active }
  }

  /** The thread of a connection; undefined when it has none, or is not there. */
  getConnectionThreadId (connectionId: ConnectionId): ThreadId | undefined {
    return this.#own()?.get(connectionId)?.threadId
  }

  /** False, and nothing changes, for an unknown connection and a malformed thread id. Whose the thread is was checked before. */
  updateConnectionThread (connectionId: ConnectionId, threadId: ThreadId | undefined): boolean {
    const connection = this.#own()?.get(connectionId)
    if (connection === undefined || (threadId !== undefined && !isThreadId(threadId))) return false
    connection.threadId = threadId
    return true
  }

  /** A new set each time: changing it changes nothing here. */
  getUserConnectionsByThread (threadId: ThreadId): Set<Connection> {
    return new Set([...this.#own()?.values() ?? []].filter((connection) => connection.threadId === threadId))
  }

  /** A new set each time. */
  getUserConnections (): Set<Connection> {
    return new Set(this.#own()?.values())
  }

  /** For the node's own housekeeping: calls `visit` with each connection, in no one's identity. */
  forEach (visit: (connection: Connection) => void): void {
    for (const own of this.#users.values()) {
      for (const connection of own.values()) visit(connection)
    }
  }

  #own (): Map<ConnectionId, Connection> | undefined {
    return this.#users.get(currentIdentity().userId)
  }
}
