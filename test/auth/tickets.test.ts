import t from 'tap'
import { createTickets } from '../../lib/auth/tickets.ts'
import { enterThread } from '../../lib/context/current-thread.ts'
import { createIdentity } from '../../lib/context/identity.ts'
import { toUserId } from '../../lib/protocol/ids.ts'
import { createStorage } from '../../lib/storage/open-storage.ts'
import type { TicketStore } from '../../lib/stores/ticket-store.ts'
import { createMemoryTicketStore } from '../support/authentication.ts'

const alice = createIdentity({ userId: toUserId('alice') })
const asAlice = async <T>(fn: () => Promise<T>): Promise<T> => await enterThread(alice, fn)
const soon = (): Date => new Date(Date.now() + 60_000)
const unauthenticated = { code: 'THREADLINE_UNAUTHENTICATED' }

const storage = await createStorage({})
t.teardown(() => storage.close())
const stores: Record<string, TicketStore> = { 'the database': storage.tickets, 'the memory of these tests': createMemoryTicketStore() }

for (const [place, store] of Object.entries(stores)) {
  t.test(`tickets in ${place}`, async (t) => {
    const tickets = createTickets({ store })

    t.test('H103 a ticket is redeemed once, for its user until the token expires', async (t) => {
      const tokenExpiresAt = soon()

      const { ticket, expiresAt } = await asAlice(async () => await tickets.issue(tokenExpiresAt))

      t.strictSame(await tickets.redeem(ticket), { userId: 'alice', expiresAt: tokenExpiresAt })
      await t.rejects(tickets.redeem(ticket), unauthenticated)
      t.ok(expiresAt.getTime() <= Date.now() + 30_000)
    })

    t.test('H103 of twenty simultaneous redemptions exactly one succeeds', async (t) => {
      const { ticket } = await asAlice(async () => await tickets.issue(soon()))

      const outcomes = await Promise.allSettled(Array.from({ length: 20 }, async () => await tickets.redeem(ticket)))

      t.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1)
    })

    t.test('H103 an expired ticket is refused, and so is one whose token has expired', async (t) => {
      const short = createTickets({ store, lifetimeMs: 0 })
      const old = await asAlice(async () => await short.issue(soon()))
      const outlived = await asAlice(async () => await tickets.issue(new Date(Date.now() - 1)))

      await t.rejects(tickets.redeem(old.ticket), unauthenticated)
      await t.rejects(tickets.redeem(outlived.ticket), { code: 'THREADLINE_TOKEN_EXPIRED' })
    })

    t.test('H103 a ticket that was never issued is refused', async (t) => {
      await t.rejects(tickets.redeem('x'.repeat(43)), unauthenticated)
    })

    t.test('a ticket cannot be bought outside of an identity', async (t) => {
      await t.rejects(tickets.issue(soon()), { code: 'THREADLINE_NO_CONTEXT' })
    })
  })
}

t.test('H103 what cannot be a ticket is refused without asking the store', async (t) => {
  const tickets = createTickets({
    store: { async issue () {}, async redeem () { throw new Error('the store was asked') } }
  })

  for (const text of ['', 'x', 'x'.repeat(42), 'x'.repeat(44), `${'x'.repeat(42)}!`, `${'x'.repeat(43)}\n`, '\u0000'.repeat(43)]) {
    await t.rejects(tickets.redeem(text), unauthenticated)
  }
})

t.test('a ticket has 256 random bits and is kept as a hash only', async (t) => {
  const store = createMemoryTicketStore()
  const tickets = createTickets({ store })

  const one = await asAlice(async () => await tickets.issue(soon()))
  const other = await asAlice(async () => await tickets.issue(soon()))

  t.equal(Buffer.from(one.ticket, 'base64url').length, 32)
  t.not(one.ticket, other.ticket)
  t.match(store.hashes(), [/^[0-9a-f]{64}$/, /^[0-9a-f]{64}$/])
  t.notOk(store.hashes().some((hash) => hash.includes(one.ticket)))
})
