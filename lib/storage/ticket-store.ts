import { sql } from 'kysely'
import { currentIdentity } from '../context/current-thread.ts'
import { toUserId } from '../protocol/ids.ts'
import type { TicketStore } from '../stores/ticket-store.ts'
import { query } from './tables.ts'
import type { UnitsOfWork } from './unit-of-work.ts'

interface RedeemedRow {
  readonly user_id: string
  readonly token_expires_at: string | null
}

const swept = 100

/** Tickets, each taken once. Whether one has expired is told by the clock of the process, which also set its end. */
export function createTicketStore (units: UnitsOfWork): TicketStore {
  return {
    issue: async (secretHash, { tokenExpiresAt }, expiresAt) => await units.asUser(async (unit) => {
      await unit.lastRows(query.insertInto('tickets').values({
        secret_hash: secretHash,
        user_id: currentIdentity().userId,
        token_expires_at: tokenExpiresAt,
        expires_at: expiresAt.toISOString()
      }))
    }),

    redeem: async (secretHash) => await units.asSystem(async (unit) => {
      const [row] = await unit.lastRows(redeem(secretHash, new Date().toISOString()))
      return row === undefined ? undefined : { userId: toUserId(row.user_id), tokenExpiresAt: row.token_expires_at }
    })
  }
}

// Takes some of the expired ones away as well, without waiting for another process that does the same.
function redeem (secretHash: string, now: string) {
  return sql<RedeemedRow>`
    with swept as (
      delete from threadline.tickets where secret_hash in (
        select secret_hash from threadline.tickets where expires_at <= ${now} and secret_hash <> ${secretHash}
        limit ${sql.lit(swept)} for update skip locked
      )
    ), taken as (
      delete from threadline.tickets where secret_hash = ${secretHash} returning user_id, token_expires_at, expires_at
    )
    select user_id, token_expires_at from taken where expires_at > ${now}`
}
