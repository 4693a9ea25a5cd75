import { currentThread } from '../context/current-thread.ts'
import { ThreadlineError } from '../errors.ts'
import type { ThreadId } from '../protocol/ids.ts'
import type { ConnectionRegistry } from './connection-registry.ts'
import type { Connection, Hold, Told } from './connection.ts'
import { createEvent } from './create-event.ts'
import type { Presence } from './presence.ts'
import type { Relay } from './relay.ts'
import type { Subscriptions } from './subscriptions.ts'
import { writeToAll } from './write-event.ts'

/** What a connection is told when it is put into a thread. */
export interface Entry {
  /** The position from which live events follow. */
  readonly sequence: number
  /** What it has been sent of the thread already; without it, nothing that it would have to be sent. */
  readonly told?: Told | undefined
  /** Called once the connection is in the thread. Live events follow when it has answered. */
  readonly tell: () => void | Promise<void>
  /** Called when it has not, before they do: what they would follow was not told to the end. */
  readonly failed?: ((err: unknown) => void) | undefined
}

export interface ThreadMembershipOptions {
  readonly registry: ConnectionRegistry
  readonly subscriptions: Subscriptions
  readonly presence: Presence
  readonly relay: Relay
}

/** Moves connections in and out of threads: registry and subscriptions together, so that they never disagree. */
export class ThreadMembership {
  readonly #registry: ConnectionRegistry
  readonly #subscriptions: Subscriptions
  readonly #presence: Presence
  readonly #relay: Relay

  constructor ({ registry, subscriptions, presence, relay }: ThreadMembershipOptions) {
    this.#registry = registry
    this.#subscriptions = subscriptions
    this.#presence = presence
    this.#relay = relay
    relay.hear('thread', 'vacated', () => { this.#vacateHere() })
    subscriptions.whenGone = () => { this.#tellGone() }
  }

  /**
   * Puts the connection into the active thread, without a gap or a doubled event: events are held back from before the position is
   * read, and those that it has not been sent follow once `tell` has answered. When `prepare` fails, nothing has changed. A connection that
   * is gone by then is put nowhere, and nobody is told.
   */
  async enter (connection: Connection, prepare: (hold: Hold) => Promise<Entry>): Promise<void> {
    const { threadId } = currentThread()
    const left = connection.threadId
    this.#subscriptions.join(connection, threadId)
    const hold = connection.hold(threadId)
    try {
      const { sequence, told, tell, failed } = await prepare(hold)
      if (!connection.holds(hold)) throw new ThreadlineError('THREADLINE_THREAD_NOT_FOUND') // vacated meanwhile
      const known = connection.told(threadId)
      if (!this.#move(connection, left, threadId)) return
      this.#subscriptions.stand(threadId, sequence)
      connection.stand(threadId, told ?? (known?.to === sequence ? known : { from: sequence, to: sequence }))
      await telling(tell, failed)
    } finally {
      this.#subscriptions.release(connection, hold)
      const isIn = this.#registry.getConnectionThreadId(connection.connectionId)
      if (isIn !== threadId) this.#subscriptions.leave(connection, threadId)
    }
    this.#presence.changed(threadId)
  }

  /** Takes every connection of the user out of the active thread, which is no more, also those that are about to enter it, on all nodes. */
  vacate (): void {
    this.#vacateHere()
    this.#relay.send('vacated', {}, currentThread().threadId)
  }

  /** Forgets the connection. Doing it again does nothing. */
  remove (connection: Connection): void {
    const { threadId } = connection
    const known = this.#registry.disconnect(connection.connectionId)
    if (known && threadId !== undefined) this.#presence.changed(threadId)
    if (threadId !== undefined) this.#subscriptions.leave(connection, threadId)
    if (known) this.#presence.disconnected()
  }

  /** Another node has deleted the thread, and its signals were lost: the connections are told here. */
  #tellGone (): void {
    const { threadId } = currentThread()
    const connections = this.#registry.getUserConnectionsByThread(threadId)
    this.#vacateHere()
    writeToAll(connections, createEvent('thread_deleted', { thread_id: threadId }, { threadId: null }))
  }

  #vacateHere (): void {
    const { threadId } = currentThread()
    this.#subscriptions.forget(threadId)
    for (const connection of this.#registry.getUserConnections()) {
      if (!connection.wants(threadId)) continue
      connection.drop(threadId)
      if (connection.threadId === threadId) this.#move(connection, threadId, undefined)
    }
  }

  /** False, and nothing changes, when the connection is gone. */
  #move (connection: Connection, left: ThreadId | undefined, threadId: ThreadId | undefined): boolean {
    if (!this.#registry.updateConnectionThread(connection.connectionId, threadId)) return false
    if (left === undefined || left === threadId) return true
    connection.drop(left)
    this.#presence.changed(left)
    this.#subscriptions.leave(connection, left)
    return true
  }
}

async function telling (tell: Entry['tell'], failed: Entry['failed']): Promise<void> {
  try {
    await tell()
  } catch (err) {
    failed?.(err)
    throw err
  }
}
