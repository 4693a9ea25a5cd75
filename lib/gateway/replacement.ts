import type { ConnectionId } from '../protocol/ids.ts'
import type { ConnectionRegistry } from './connection-registry.ts'
import type { Relay } from './relay.ts'
import type { ThreadMembership } from './thread-membership.ts'

export interface ReplacementOptions {
  readonly registry: ConnectionRegistry
  readonly membership: Pick<ThreadMembership, 'remove'>
  readonly relay: Relay
}

/**
 * Has a client that lost its connection, and comes again, take the place of the old one. A connection that was cut without a word counts until it is
 * missed, which takes longer than its client needs to come back: it would stand in its own way.
 */
export class Replacement {
  readonly #options: ReplacementOptions

  constructor (options: ReplacementOptions) {
    this.#options = options
    options.relay.hear('user', 'replaced', ({ connection_id: connectionId }) => { this.#closeHere(connectionId) })
  }

  /** Closes a connection of the active user with `replaced`, here or on whichever node it is, and forgets it at once. What is another's is not found. */
  replace (connectionId: ConnectionId): void {
    if (!this.#closeHere(connectionId)) this.#options.relay.send('replaced', { connection_id: connectionId })
  }

  #closeHere (connectionId: unknown): boolean {
    const { registry, membership } = this.#options
    const connection = [...registry.getUserConnections()].find((own) => own.connectionId === connectionId)
    if (connection === undefined) return false
    connection.close('replaced')
    membership.remove(connection)
    return true
  }
}
