import { createHash, randomBytes } from 'node:crypto'
import { ThreadlineError } from '../errors.ts'
import type { TicketStore } from '../stores/ticket-store.ts'
import type { Caller } from './token-verifier.ts'

export interface IssuedTicket {
  readonly ticket: string
  readonly expiresAt: Date
}

/** Stand-ins for a token in a URL: 256 random bits, good for one handshake within half a minute, kept as a hash only. */
export interface Tickets {
  /** For the active user. What it is redeemed for expires when the token does. */
  issue (tokenExpiresAt: Date): Promise<IssuedTicket>
  /** Throws `THREADLINE_UNAUTHENTICATED`, or `THREADLINE_TOKEN_EXPIRED` when the token behind the ticket has expired since. */
  redeem (ticket: string): Promise<Caller>
}

export function createTickets ({ store, lifetimeMs = 30_000 }: { store: TicketStore, lifetimeMs?: number }): Tickets {
  return {
    async issue (tokenExpiresAt) {
      const ticket = randomBytes(32).toString('base64url')
      const expiresAt = new Date(Date.now() + lifetimeMs)
      await store.issue(hashOf(ticket), { tokenExpiresAt: tokenExpiresAt.toISOString() }, expiresAt)
      return { ticket, expiresAt }
    },

    async redeem (ticket) {
      const kept = /^[\w-]{43}$/.test(ticket) ? await store.redeem(hashOf(ticket)) : undefined
      if (kept === undefined || kept.tokenExpiresAt === null) throw new ThreadlineError('THREADLINE_UNAUTHENTICATED')
      const expiresAt = new Date(kept.tokenExpiresAt)
      if (expiresAt.getTime() <= Date.now()) throw new ThreadlineError('THREADLINE_TOKEN_EXPIRED')
      return { userId: kept.userId, expiresAt }
    }
  }
}

function hashOf (ticket: string): string {
  return createHash('sha256').update(ticket).digest('hex')
}
