import type { UserId } from '../protocol/ids.ts'

export interface Ticket {
  readonly userId: UserId
  /** When the token that the ticket was bought with expires (ISO 8601), or null. */
  readonly tokenExpiresAt: string | null
}

/** Where tickets are kept between the request that buys one and the handshake. */
export interface TicketStore {
  /** Keeps a ticket of the active user under the SHA-256 of its secret. */
  issue (secretHash: string, ticket: Omit<Ticket, 'userId'>, expiresAt: Date): Promise<void>
  /** Takes the ticket, once, of however many ask at the same time: undefined when it is unknown, used or expired. Called before there is an identity. */
  redeem (secretHash: string): Promise<Ticket | undefined>
}
