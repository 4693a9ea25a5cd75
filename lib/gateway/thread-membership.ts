import { currentThread } from '../context/current-thread.ts'
import { ThreadlineError } from '../errors.ts'
import type { ServerEvent } from '../protocol/events.ts'
import type { ThreadId } from '../protocol/ids.ts'
import type { ConnectionRegistry } from './connection-registry.ts'
import type { Connection } from './connection.ts'
import { createEvent } from './create-event.ts'
import type { Subscriptions } from './subscriptions.ts'

/** Moves connections in and out of threads: registry and subscriptions together, so that they never disagree. */
export class ThreadMembership {
  readonly #registry: ConnectionRegistry
  readonly #subscriptions: Subscriptions

  constructor (registry: ConnectionRegistry, subscriptions: Subscriptions) {
    this.#registry = registry
    this.#subscriptions = subscriptions
  }

  /**
   * Puts the connection into the active thread, without a gap or a doubled event: events are held back from before the position is
   * read, and those after it follow once `tell` has answered. When `prepare` fails, nothing has changed. A connection that is gone
   * by then is put nowhere, and nobody is told.
   */
  async enter (connection: Connection, prepare: () => Promise<{ readonly sequence: number, readonly tell: () => void }>): Promise<void> {
    const { threadId } = currentThread()
    const left = connection.threadId
    this.#subscriptions.join(connection.connectionId, threadId)
    connection.hold(threadId)
    try {
      const { sequence, tell } = await prepare()
      if (!connection.wants(threadId)) throw new ThreadlineError('THREADLINE_THREAD_NOT_FOUND') // vacated meanwhile
      if (!this.#move(connection, left, threadId)) return
      tell()
      for (const held of connection.release()) {
        if (held.sequence > sequence) held.send()
      }
    } finally {
      connection.release()
      const isIn = this.#registry.getConnectionThreadId(connection.connectionId)
      if (isIn !== threadId) this.#subscriptions.leave(connection.connectionId, threadId)
    }
    this.#tellPresence(threadId)
  }

  /** Takes every connection of the user out of the active thread, also those that are about to enter it. */
  vacate (): void {
    const { threadId } = currentThread()
    for (const connection of this.#registry.getUserConnections()) {
      if (!connection.wants(threadId)) continue
      connection.release()
      if (connection.threadId === threadId) this.#move(connection, threadId, undefined)
    }
  }

  /** Forgets the connection. Doing it again does nothing. */
  remove (connection: Connection): void {
    const { threadId } = connection
    if (threadId !== undefined) this.#subscriptions.leave(connection.connectionId, threadId)
    connection.release()
    if (this.#registry.disconnect(connection.connectionId) && threadId !== undefined) this.#tellPresence(threadId)
  }

  /** False, and nothing changes, when the connection is gone. */
  #move (connection: Connection, left: ThreadId | undefined, threadId: ThreadId | undefined): boolean {
    if (!this.#registry.updateConnectionThread(connection.connectionId, threadId)) return false
    if (left === undefined || left === threadId) return true
    this.#subscriptions.leave(connection.connectionId, left)
    this.#tellPresence(left)
    return true
  }

  /** Tells the connections of a thread how many they are. */
  #tellPresence (threadId: ThreadId): void {
    const connections = this.#registry.getUserConnectionsByThread(threadId)
    const event: ServerEvent = createEvent('presence', { connections: connections.size }, { threadId })
    const frame = JSON.stringify(event)
    for (const connection of connections) connection.write(event, frame)
  }
}
