import { createHash, randomBytes } from 'node:crypto'
import t from 'tap'
import { as, newcomer, onEachDatabase } from '../support/storage-databases.ts'

const newSecret = (): string => createHash('sha256').update(randomBytes(32)).digest('hex')
const inSeconds = (seconds: number): Date => new Date(Date.now() + seconds * 1000)

onEachDatabase(t, async (t, { storage, askAs }) => {
  const { tickets } = storage

  t.test('a ticket is taken once, and tells whose it is', async (t) => {
    const alice = newcomer()
    const [secret, other] = [newSecret(), newSecret()]
    const tokenExpiresAt = '2027-01-02T03:04:05.678Z'
    await as(alice, async () => { await tickets.issue(secret, { tokenExpiresAt }, inSeconds(30)) })
    await as(alice, async () => { await tickets.issue(other, { tokenExpiresAt: null }, inSeconds(30)) })

    t.same(await tickets.redeem(secret), { userId: alice.userId, tokenExpiresAt })
    t.equal(await tickets.redeem(secret), undefined)
    t.same(await tickets.redeem(other), { userId: alice.userId, tokenExpiresAt: null })
    t.equal(await tickets.redeem(newSecret()), undefined)
  })

  t.test('of many that take a ticket at once, one gets it', async (t) => {
    const alice = newcomer()
    const secret = newSecret()
    await as(alice, async () => { await tickets.issue(secret, { tokenExpiresAt: null }, inSeconds(30)) })

    const taken = await Promise.all(Array.from({ length: 12 }, async () => await tickets.redeem(secret)))

    t.equal(taken.filter((ticket) => ticket !== undefined).length, 1)
  })

  t.test('an expired ticket is worth nothing, and is taken away with the next one', async (t) => {
    const alice = newcomer()
    const [expired, forgotten] = [newSecret(), newSecret()]
    await as(alice, async () => { await tickets.issue(expired, { tokenExpiresAt: null }, inSeconds(-1)) })
    await as(alice, async () => { await tickets.issue(forgotten, { tokenExpiresAt: null }, inSeconds(-1)) })

    t.equal(await tickets.redeem(expired), undefined)

    const left = await askAs<{ secret_hash: string }>('threadline_system', undefined, 'select secret_hash from threadline.tickets')
    t.notOk(left.some(({ secret_hash: hash }) => hash === expired || hash === forgotten))
  })
})
