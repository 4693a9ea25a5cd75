import { sql } from 'kysely'
import pg from 'pg'
import t, { type Test } from 'tap'
import { enterThread, tryCurrentIdentity } from '../../lib/context/current-thread.ts'
import type { Identity } from '../../lib/context/identity.ts'
import { createStoredEventLog, identityOfEvent } from '../../lib/events/stored-event-log.ts'
import { newThreadId } from '../../lib/protocol/ids.ts'
import { openPool } from '../../lib/storage/connection-pool.ts'
import { createUnitsOfWork } from '../../lib/storage/unit-of-work.ts'
import { createStorage } from '../../lib/storage/open-storage.ts'
import { createArrivals } from '../support/arrivals.ts'
import { createSilentLogger } from '../support/silent-logger.ts'
import { as, deltaOf, lease, newcomer, runningRun } from '../support/storage-databases.ts'
import { createThrowawayDatabase } from '../support/throwaway-database.ts'

const needsServer = { skip: process.env['TEST_DATABASE_URL'] === undefined && 'needs a server, named by TEST_DATABASE_URL' }
const unavailable = { code: 'THREADLINE_STORAGE_UNAVAILABLE' }

async function newDatabase (t: Test): Promise<string> {
  const database = await createThrowawayDatabase()
  if (database === undefined) throw new Error('TEST_DATABASE_URL is not set')
  t.teardown(async () => { await database.drop() })
  const storage = await createStorage({ databaseUrl: database.url })
  await storage.close()
  return database.url
}

/** As whoever runs the server may do at any time. */
async function endConnections (url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, application_name: 'operator' })
  await client.connect()
  await client.query("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'threadline'")
  await client.end()
}

t.test('a server that ends connections is found again', needsServer, async (t) => {
  const url = await newDatabase(t)
  const pool = openPool({ url, size: 3 }, undefined)
  t.teardown(async () => { await pool.end() })
  const units = createUnitsOfWork(pool, { statementTimeoutMs: 5_000, lockTimeoutMs: 5_000 })
  const alice = newcomer()

  const inTheMiddle = as(alice, async () => await units.asUser(async (unit) => {
    await unit.rows(sql`select 1`)
    await endConnections(url)
    return await unit.lastRows(sql`select 2`)
  }))

  await t.rejects(inTheMiddle, unavailable)
  t.same(await as(alice, async () => await units.asUser(async (unit) => await unit.lastRows(sql`select 3 as x`))), [{ x: 3 }])
})

// Kill: no `appendApart` in lib/storage/event-store.ts.
t.test('a thread that somebody has locked keeps the events of others back for a moment, and fails none of them', needsServer, async (t) => {
  const url = await newDatabase(t)
  const storage = await createStorage({ databaseUrl: url })
  t.teardown(async () => { await storage.close() })
  const log = createStoredEventLog({ store: storage.events, epoch: storage.epoch, logger: createSilentLogger() })
  const [locked, ...others] = [await runningRun(storage, newcomer()), await runningRun(storage, newcomer()), await runningRun(storage, newcomer())]
  if (locked === undefined) throw new Error('There are three runs')
  const told = [...others, locked, ...others].map((run) => deltaOf(run))
  const operator = new pg.Client({ connectionString: url })
  await operator.connect()
  t.teardown(async () => { await operator.end() })
  await operator.query(`begin; set local threadline.user_id = '${locked.userId}'`)
  await operator.query('select 1 from threadline.threads where thread_id = $1 for update', [locked.threadId])

  const appended = await Promise.allSettled(told.map(async ({ event, attempt }) => await enterThread(identityOfEvent(event), async () => await log.append(event, attempt))))
  await operator.query('rollback')

  t.same(appended.map((one) => one.status === 'fulfilled' ? one.value.sequence : 'refused'), [1, 1, 'refused', 2, 2])
  t.match(appended[2], { reason: unavailable })
  t.same(await storage.events.append([deltaOf(locked)]), [{ sequence: 1 }])
})

// Kill: no `isOfConnection` in lib/storage/unit-of-work.ts.
t.test('a server that takes no writes is away, and connections to it do not outlive that', needsServer, async (t) => {
  const url = await newDatabase(t)
  const storage = await createStorage({ databaseUrl: url })
  t.teardown(async () => { await storage.close() })
  const run = await runningRun(storage, newcomer())
  const operator = new pg.Client({ connectionString: url, options: '-c default_transaction_read_only=off' })
  await operator.connect()
  t.teardown(async () => { await operator.end() })
  const takeWrites = async (yes: boolean): Promise<void> => {
    await operator.query(`alter database ${new URL(url).pathname.slice(1)} set default_transaction_read_only = ${yes ? 'off' : 'on'}`)
  }
  await takeWrites(false)
  await endConnections(url)

  await t.rejects(storage.events.append([deltaOf(run)]), unavailable)
  await t.rejects(storage.events.append([deltaOf(run)]), unavailable)
  await takeWrites(true)

  t.same(await storage.events.append([deltaOf(run)]), [{ sequence: 1 }])
})

// Kill: no `context.with` around `pool.connect` in lib/storage/unit-of-work.ts.
t.test('a connection that is lost is told of in nobody\'s name, whoever it was opened for', needsServer, async (t) => {
  const url = await newDatabase(t)
  const lost = createArrivals<{ readonly identity: Identity | undefined }>()
  const pool = openPool({ url, size: 3 }, { ...createSilentLogger(), warn: () => { lost.push({ identity: tryCurrentIdentity() }) } })
  t.teardown(async () => { await pool.end() })
  const units = createUnitsOfWork(pool, { statementTimeoutMs: 5_000, lockTimeoutMs: 5_000 })

  await as(newcomer(), async () => await units.asUser(async (unit) => await unit.lastRows(sql`select 1`)))
  await endConnections(url)

  t.equal((await lost.next()).identity, undefined)
})

t.test('a statement, a lock and a connection are waited for within limits', needsServer, async (t) => {
  const url = await newDatabase(t)
  const pool = openPool({ url, size: 2 }, undefined)
  t.teardown(async () => { await pool.end() })
  const units = createUnitsOfWork(pool, { statementTimeoutMs: 200, lockTimeoutMs: 50 })
  const alice = newcomer()
  const threadId = newThreadId()
  await as(alice, async () => await units.asUser(async (unit) => {
    await unit.lastRows(sql`insert into threadline.threads (thread_id, user_id) values (${threadId}, ${alice.userId})`)
  }))
  const lock = sql`select 1 from threadline.threads where thread_id = ${threadId} for update`

  await t.rejects(as(alice, async () => await units.asUser(async (unit) => await unit.lastRows(sql`select pg_sleep(30)`))), unavailable)
  await as(alice, async () => await units.asUser(async (unit) => {
    await unit.rows(lock)
    await t.rejects(units.asUser(async (other) => await other.lastRows(lock)), unavailable)
  }))
  t.same(await as(alice, async () => await units.asUser(async (unit) => (await unit.lastRows(lock)).length)), 1)
})

t.test('a server that stops answering in the middle of a unit is given up', needsServer, async (t) => {
  const url = await newDatabase(t)
  const pool = openPool({ url, size: 1 }, undefined, 300)
  t.teardown(async () => { await pool.end() })
  const units = createUnitsOfWork(pool, { statementTimeoutMs: 0, lockTimeoutMs: 0 })

  await t.rejects(units.asSystem(async (unit) => await unit.lastRows(sql`select pg_sleep(2)`)), unavailable)

  t.same(await units.asSystem(async (unit) => await unit.lastRows(sql`select 1 as x`)), [{ x: 1 }])
})

// Kill: no `skip locked` in `renewal` of lib/storage/queue-store.ts.
t.test('a lease is renewed without waiting for a run that is just about to end, which is answered all the same', needsServer, async (t) => {
  const url = await newDatabase(t)
  const storage = await createStorage({ databaseUrl: url })
  t.teardown(async () => { await storage.close() })
  const pool = openPool({ url, size: 2 }, undefined)
  t.teardown(async () => { await pool.end() })
  const units = createUnitsOfWork(pool, { statementTimeoutMs: 5_000, lockTimeoutMs: 5_000 })
  const alice = newcomer()
  const [ending, other] = [await runningRun(storage, alice), await runningRun(storage, alice)]

  const renewed = await as(alice, async () => await units.asUser(async (unit) => {
    await unit.rows(sql`update threadline.runs set error = 'x' where run_id = ${ending.runId} and user_id = ${alice.userId}`)
    const asked = performance.now()
    const answer = await storage.queue.renew(lease, [ending, other])
    t.ok(performance.now() - asked < 2_000, 'it has not waited for the lock')
    return answer
  }))

  t.same(new Set(renewed.map(({ runId }) => runId)), new Set([ending.runId, other.runId]))
})
