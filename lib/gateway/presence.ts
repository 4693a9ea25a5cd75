import { currentIdentity } from '../context/current-thread.ts'
import { isReservedUserId, type ThreadId } from '../protocol/ids.ts'
import type { ConnectionRegistry } from './connection-registry.ts'
import { createEvent } from './create-event.ts'
import { PeerCounts } from './peer-counts.ts'
import type { Relay } from './relay.ts'
import { writeToAll } from './write-event.ts'

export interface PresenceOptions {
  readonly relay: Relay
  readonly registry: ConnectionRegistry
  /** How long the connections of a node count of which nothing more is heard. */
  readonly lifeMs: number
}

/**
 * Who is there, on all nodes together. It keeps the topic of each connected user, and of each followed thread, from the first connection of this node
 * to the last, and tells the connections of a thread how many they are. Asked in the identity of the connection.
 */
export class Presence {
  readonly #registry: ConnectionRegistry
  readonly #counts: PeerCounts

  constructor ({ relay, registry, lifeMs }: PresenceOptions) {
    this.#registry = registry
    this.#counts = new PeerCounts({
      relay,
      lifeMs,
      here: (threadId) => threadId === undefined ? registry.getUserConnections().size : registry.getUserConnectionsByThread(threadId).size,
      changed: (threadId) => { if (threadId !== undefined) this.#tellHere(threadId) }
    })
  }

  /** Connections of the active user on other nodes. The service's own users have some on each node, by themselves. */
  get elsewhere (): number { return isReservedUserId(currentIdentity().userId) ? 0 : this.#counts.elsewhere() }

  /** Connections on other nodes in a thread of the active user. */
  elsewhereIn (threadId: ThreadId): number { return this.#counts.elsewhere(threadId) }

  /** A connection of the active user was registered. */
  connected (): void {
    this.#counts.join()
    this.#counts.tell(undefined)
  }

  /** One was forgotten. */
  disconnected (): void {
    this.#counts.tell(undefined)
    if (this.#registry.getUserConnections().size === 0) this.#counts.leave()
  }

  /** Somebody is in a thread of the active user, or about to be. */
  follow (threadId: ThreadId): void { this.#counts.join(threadId) }

  /** Nobody is any more. */
  unfollow (threadId: ThreadId): void { this.#counts.leave(threadId) }

  /** Tells everybody in a thread, wherever they are, that it has another number of connections here. */
  changed (threadId: ThreadId): void {
    this.#tellHere(threadId)
    this.#counts.tell(threadId)
  }

  /** To be called once in a while. */
  async refresh (options: { readonly ask?: boolean } = {}): Promise<void> { await this.#counts.refresh(options) }

  stop (): void { this.#counts.stop() }

  #tellHere (threadId: ThreadId): void {
    const connections = this.#registry.getUserConnectionsByThread(threadId)
    if (connections.size === 0) return
    writeToAll(connections, createEvent('presence', { connections: connections.size + this.#counts.elsewhere(threadId) }, { threadId }))
  }
}
