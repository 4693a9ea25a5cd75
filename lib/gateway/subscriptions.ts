import { attributes } from '../context/attributes.ts'
import { withHop } from '../context/hop.ts'
import type { Logger } from '../context/logger.ts'
import type { EventLog, Unfollow } from '../events/event-log.ts'
import type { ThreadEvent } from '../protocol/events.ts'
import type { ConnectionId, ThreadId } from '../protocol/ids.ts'
import type { ConnectionRegistry } from './connection-registry.ts'
import type { Connection } from './connection.ts'

/** `queued`: nobody was there; the event is in the log, and waits for whoever comes. */
export type Delivery = 'delivered' | 'queued'

/**
 * Which threads this node follows, and the way of their events to the connections that are in them. Asked in the identity of the
 * connection, or of the event.
 */
export class Subscriptions {
  readonly #registry: ConnectionRegistry
  readonly #log: EventLog
  readonly #logger: Logger
  readonly #followed = new Map<ThreadId, { readonly connections: Set<ConnectionId>, readonly unfollow: Unfollow }>()

  constructor (options: { registry: ConnectionRegistry, log: EventLog, logger: Logger }) {
    this.#registry = options.registry
    this.#log = options.log
    this.#logger = options.logger
  }

  get size (): number { return this.#followed.size }

  join (connectionId: ConnectionId, threadId: ThreadId): void {
    const followed = this.#followed.get(threadId) ?? this.#follow(threadId)
    followed.connections.add(connectionId)
  }

  /** Leaving a thread that one is not in does nothing. */
  leave (connectionId: ConnectionId, threadId: ThreadId): void {
    const followed = this.#followed.get(threadId)
    if (followed?.connections.delete(connectionId) !== true || followed.connections.size > 0) return
    followed.unfollow()
    this.#followed.delete(threadId)
  }

  /** Tells an event of the active identity to its thread's connections on this node. One that fails does not hinder the others. */
  deliver (event: ThreadEvent): Delivery {
    const frame = JSON.stringify(event)
    const wanting = [...this.#registry.getUserConnections()].filter((connection) => connection.wants(event.thread_id))
    const reached = wanting.filter((connection) => {
      const send = (): boolean => this.send(connection, event, frame)
      return connection.holdBack(event, send) || send()
    })
    return reached.length > 0 ? 'delivered' : 'queued'
  }

  /** True when the event has left for the socket. A dead one is cut off, which ends its connection; one that is being closed has its time. */
  send (connection: Connection, event: ThreadEvent, frame: string): boolean {
    try {
      const sent = event.type === 'agent_delta'
        ? connection.writeThreadEvent(event, frame)
        : this.#sendAsHop(connection, event, frame)
      if (sent === 'dead' && connection.active) connection.terminate()
      return sent === 'sent'
    } catch (err) {
      this.#logger.error({ err, event_id: event.event_id, connection_id: connection.connectionId }, 'an event was not delivered')
      return false
    }
  }

  #sendAsHop (connection: Connection, event: ThreadEvent, frame: string) {
    const spanAttributes = {
      [attributes.connectionId]: connection.connectionId,
      [attributes.eventType]: event.type,
      [attributes.eventId]: event.event_id,
      [attributes.sequence]: event.sequence
    }
    return withHop('socket.send', { attributes: spanAttributes }, () => connection.writeThreadEvent(event, frame))
  }

  #follow (threadId: ThreadId) {
    const unfollow = this.#log.follow(threadId, (event) => { this.deliver(event) })
    const followed = { connections: new Set<ConnectionId>(), unfollow }
    this.#followed.set(threadId, followed)
    return followed
  }
}
