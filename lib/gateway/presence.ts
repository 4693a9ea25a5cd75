import { currentIdentity } from '../context/current-thread.ts'
import type { EventBus } from '../events/event-bus.ts'
import { isReservedUserId, type ThreadId } from '../protocol/ids.ts'
import type { ConnectionRegistry } from './connection-registry.ts'
import { createEvent } from './create-event.ts'
import { PeerCounts } from './peer-counts.ts'
import { PeerNodes } from './peer-nodes.ts'
import type { Relay } from './relay.ts'
import { writeToAll } from './write-event.ts'

export interface PresenceOptions {
  readonly bus: EventBus | undefined
  readonly relay: Relay
  readonly registry: ConnectionRegistry
  /** How long a number of connections counts that is not said again. */
  readonly lifeMs: number
  /** How long a node may say nothing at all until its connections do not count any more. */
  readonly peerTimeoutMs: number
}

/**
 * Who is there, on all nodes together. It keeps the topic of each connected user, and of each followed thread, from the first connection of this node
 * to the last, and tells the connections of a thread how many they are. Asked in the identity of the connection.
 */
export class Presence {
  readonly #registry: ConnectionRegistry
  readonly #nodes: PeerNodes
  readonly #counts: PeerCounts

  constructor ({ bus, relay, registry, lifeMs, peerTimeoutMs }: PresenceOptions) {
    this.#registry = registry
    this.#nodes = new PeerNodes({
      bus,
      timeoutMs: peerTimeoutMs,
      memoryMs: lifeMs,
      changed: (node) => { void this.#counts.judge(node) },
      woke: () => { void this.refresh({ ask: true }) }
    })
    this.#counts = new PeerCounts({
      relay,
      nodes: this.#nodes,
      lifeMs,
      here: (threadId) => threadId === undefined ? registry.getUserConnections().size : registry.getUserConnectionsByThread(threadId).size,
      changed: (threadId) => { if (threadId !== undefined) this.#tellHere(threadId) }
    })
  }

  /** Connections of the active user on other nodes. The service's own users have some on each node, by themselves. */
  get elsewhere (): number { return isReservedUserId(currentIdentity().userId) ? 0 : this.#counts.elsewhere() }

  /** When `elsewhere` may turn out to be too much, in ms from now; undefined where nothing is elsewhere. */
  get decidedInMs (): number | undefined { return this.#counts.decidedInMs }

  /** Connections on other nodes in a thread of the active user. */
  elsewhereIn (threadId: ThreadId): number { return this.#counts.elsewhere(threadId) }

  /** A connection of the active user was registered. */
  connected (): void {
    this.#nodes.start()
    this.#counts.join()
    this.#counts.tell(undefined)
  }

  /** One was forgotten. */
  disconnected (): void {
    this.#counts.tell(undefined)
    if (this.#registry.getUserConnections().size === 0) this.#counts.leave()
    if (this.#registry.size === 0) this.#nodes.stop()
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

  /** Says goodbye to the other nodes, and nothing after it: the connections of this one do not count any more. */
  stop (): void {
    this.#counts.stop()
    this.#nodes.stop()
    this.#nodes.sayGoodbye()
  }

  #tellHere (threadId: ThreadId): void {
    const connections = this.#registry.getUserConnectionsByThread(threadId)
    if (connections.size === 0) return
    writeToAll(connections, createEvent('presence', { connections: connections.size + this.#counts.elsewhere(threadId) }, { threadId }))
  }
}
