import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { sql } from 'kysely'
import t from 'tap'
import { newThreadId } from '../../lib/protocol/ids.ts'
import { openPool } from '../../lib/storage/connection-pool.ts'
import { PgliteDatabase } from '../../lib/storage/pglite-database.ts'
import { as, newcomer, onEmbedded } from '../support/storage-databases.ts'

const unavailable = { code: 'THREADLINE_STORAGE_UNAVAILABLE' }

function end (database: PgliteDatabase): void {
  if (database.processId === undefined) throw new Error('There is no process')
  process.kill(database.processId, 'SIGKILL')
}

t.test('when the process of a database in memory ends, whatever waits for it is told, and it stays ended', async (t) => {
  const database = new PgliteDatabase(undefined, undefined)
  const { storage, units } = await onEmbedded(t, database)
  const alice = newcomer()

  const open = as(alice, async () => await units.asUser(async (unit) => {
    await unit.rows(sql`select 1`)
    end(database)
    return await unit.lastRows(sql`select 2`)
  }))
  const waiting = Array.from({ length: 5 }, async () => await as(alice, async () => await storage.threads.create(newThreadId())))

  for (const result of await Promise.allSettled([open, ...waiting])) t.match(result, { status: 'rejected', reason: unavailable })
  await t.rejects(storage.ping(), unavailable)
  t.equal(database.processId, undefined)
})

t.test('when the process of a database in a folder ends, the next question starts it again with all that was committed', async (t) => {
  const told: object[] = []
  const logger = { info () {}, warn (fields: object) { told.push(fields) }, error (fields: object) { told.push(fields) } }
  const database = new PgliteDatabase(t.testdir(), logger)
  const { storage, units } = await onEmbedded(t, database)
  const alice = newcomer()
  const [committed, lost] = [newThreadId(), newThreadId()]
  await as(alice, async () => await storage.threads.create(committed))

  await t.rejects(as(alice, async () => await units.asUser(async (unit) => {
    await unit.rows(sql`insert into threadline.threads (thread_id, user_id) values (${lost}, ${alice.userId})`)
    end(database)
    await unit.lastRows(sql`select 1`)
  })), unavailable)

  const { threads } = await as(alice, async () => await storage.threads.list({ limit: 10, offset: 0 }))
  t.same(threads.map((thread) => thread.thread_id), [committed])
  t.match(told, [{ reason: 'SIGKILL' }])
})

t.test('a folder that is no database is refused with a reason, and left as it is', async (t) => {
  const folder = t.testdir({ postgres: { PG_VERSION: 'none' } })
  const database = new PgliteDatabase(folder, undefined)

  await t.rejects(database.start(), { ...unavailable, cause: Error })

  t.equal(await readFile(join(folder, 'postgres', 'PG_VERSION'), 'utf8'), 'none')
  t.equal(database.processId, undefined)
  await database.close()
})

t.test('a connection that is given up in a transaction leaves nothing of it to the next', async (t) => {
  // kill: leave the rollback out of `answer` in lib/storage/pglite-process.ts
  const embedded = new PgliteDatabase(undefined, undefined)
  await embedded.start()
  const pool = openPool({ embedded }, undefined)
  t.teardown(async () => { await pool.end(); await embedded.close() })
  const given = await pool.connect()
  await given.query('begin; create table unfinished (x integer)')
  given.release(true)

  const { rows } = await pool.query("select to_regclass('unfinished') as found")

  t.same(rows, [{ found: null }])
})

t.test('signals to the group of processes do not end the database before its owner has', async (t) => {
  const database = new PgliteDatabase(undefined, undefined)
  const { storage } = await onEmbedded(t, database)
  const { processId } = database

  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.kill(processId ?? 0, signal)

  await t.resolves(storage.ping())
  t.equal(database.processId, processId)
})
