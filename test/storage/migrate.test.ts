import { sql, type Kysely } from 'kysely'
import type { Migration } from 'kysely/migration'
import pg from 'pg'
import t from 'tap'
import { migrate } from '../../lib/storage/migrate.ts'
import { migrations } from '../../lib/storage/migrations/migrations.ts'
import { createStorage } from '../../lib/storage/open-storage.ts'
import { toScramVerifier } from '../../lib/storage/scram-verifier.ts'
import { ensureServiceLogin } from '../../lib/storage/service-login.ts'
import { createSilentLogger } from '../support/silent-logger.ts'
import { as, messageOf, newcomer } from '../support/storage-databases.ts'
import { asLogin, ownDatabase, ownLogin, servicePassword, serviceUrl } from '../support/service-login.ts'

const needsServer = { skip: process.env['TEST_DATABASE_URL'] === undefined && 'needs a server, named by TEST_DATABASE_URL' }
const all = Object.keys(migrations).toSorted()

/** A migration that changes a table which every unit of work uses. */
const demanding: Readonly<Record<string, Migration>> = {
  '9001-demanding': { up: async (db: Kysely<unknown>) => { await sql`alter table threadline.threads add column extra integer`.execute(db) } }
}

function listening () {
  const told: string[] = []
  return { told, logger: { ...createSilentLogger(), info: (fields: object, message: string) => { told.push(`${message} ${JSON.stringify(fields)}`) } } }
}

// kill: hand on to Kysely what the database has had and this version does not know (leave out `foreign` and the comparison in lib/storage/migrate.ts).
t.test('a version that is older than the database starts again during a rollout, and says so', async (t) => {
  const dataFolder = t.testdir()
  const { told, logger } = listening()
  await (await createStorage({ dataFolder, migrations: demanding })).close()

  const older = await createStorage({ dataFolder, logger })
  await as(newcomer(), async () => await older.runs.accept(messageOf()))
  await older.close()

  t.match(told, [/newer version.*9001-demanding/])
})

t.test('the same holds for a server, and for a login that may not migrate', needsServer, async (t) => {
  const database = await ownDatabase(t)
  await migrate(database.pool, demanding)
  const url = await serviceUrl(t, database)

  t.same(await migrate(database.pool), { ran: [], newer: ['9001-demanding'] })
  for (const databaseUrl of [database.url, url]) {
    const { told, logger } = listening()
    await (await createStorage({ databaseUrl, logger })).close()
    t.match(told, [/newer version.*9001-demanding/])
  }
})

t.test('a migration that stands before one of a newer version is not run behind it', needsServer, async (t) => {
  const { pool, ask } = await ownDatabase(t)
  await migrate(pool, demanding)

  await t.rejects(migrate(pool, { '8001-forgotten': { up: async () => undefined } }), { code: 'THREADLINE_MIGRATION_FAILED' })

  t.same(await ask("select 1 from threadline.kysely_migration where name like '8%'"), [])
})

t.test('who comes second waits, and has nothing to do', needsServer, async (t) => {
  const { pool } = await ownDatabase(t)

  const results = await Promise.all([migrate(pool), migrate(pool), migrate(pool)])

  t.same(results.flatMap(({ ran }) => ran), all)
  t.same(await migrate(pool), { ran: [], newer: [] })
})

t.test('another process that migrates is waited for within a limit', needsServer, async (t) => {
  const { pool } = await ownDatabase(t)
  const other = await pool.connect()
  await other.query('begin; select pg_advisory_xact_lock(7310589114)')

  await t.rejects(migrate(pool, {}, { turnMs: 100 }), { code: 'THREADLINE_MIGRATION_FAILED', message: /Another process has been migrating/ })

  await other.query('rollback')
  other.release()
})

// kill: no `lock_timeout` before the migrations in lib/storage/migrate.ts: the migration waits for ever, and everybody else behind it.
t.test('a long transaction of the running version does not make everybody wait behind the migration', needsServer, async (t) => {
  const { pool, ask } = await ownDatabase(t)
  await migrate(pool)
  const long = await pool.connect()
  await long.query('begin; lock table threadline.threads in access share mode')
  const limits = { lockMs: 100, attempts: 3, pauseMs: 50 }

  const migrating = t.rejects(migrate(pool, demanding, limits), {
    code: 'THREADLINE_MIGRATION_FAILED', message: /9001-demanding failed: a transaction of another process held a lock that it needs, 3 times.*Nothing was changed/
  })
  const reader = await pool.connect()
  await reader.query("begin; set local lock_timeout = '2s'; set local role threadline_app; set local threadline.user_id = 'alice'")
  const read = reader.query('select count(*)::integer as count from threadline.threads')

  t.same((await read).rows, [{ count: 0 }], 'a reader gets past it')
  await reader.query('rollback')
  reader.release()
  await migrating
  const waiting = migrate(pool, demanding, { ...limits, attempts: 100 })
  await until(async () => (await ask("select 1 from pg_locks where not granted and relation = 'threadline.threads'::regclass")).length > 0)
  await long.query('rollback')
  long.release()
  t.same((await waiting).ran, ['9001-demanding'], 'and it goes on when the transaction has ended')
})

t.test('the service login may take the two roles, and nothing else', needsServer, async (t) => {
  const database = await ownDatabase(t)
  const { pool, ask } = database
  await migrate(pool)
  const name = ownLogin(t, database)
  const password = servicePassword()

  t.equal(await ensureServiceLogin(pool, { name, password }), 'made')
  await ask(`alter role ${name} createrole inherit`)
  t.equal(await ensureServiceLogin(pool, { name }), 'updated', 'without a password it keeps its own')

  t.same(await ask(`select rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolinherit, rolreplication, rolcanlogin from pg_roles where rolname = '${name}'`), [
    { rolsuper: false, rolbypassrls: false, rolcreaterole: false, rolcreatedb: false, rolinherit: false, rolreplication: false, rolcanlogin: true }
  ])
  t.same(await ask(`select g.rolname::text from pg_auth_members m join pg_roles g on g.oid = m.roleid where m.member = '${name}'::regrole and not m.admin_option order by 1`), [
    { rolname: 'threadline_app' }, { rolname: 'threadline_system' }
  ])
  const storage = await createStorage({ databaseUrl: asLogin(database.url, name, password), poolSize: 2 })
  t.teardown(async () => { await storage.close() })
  const alice = newcomer('alice')
  const message = messageOf()
  await as(alice, async () => await storage.runs.accept(message))
  t.equal((await as(alice, async () => await storage.messages.history(message.threadId, { limit: 5 }))).messages.length, 1)
  t.match(await as(alice, async () => await storage.protection()), { role: 'threadline_app', bypasses_row_security: false, row_security: 'forced' })
})

t.test('as the service login alone nothing can be read or made', needsServer, async (t) => {
  const database = await ownDatabase(t)
  const url = await serviceUrl(t, database)
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  t.teardown(async () => { await client.end() })

  for (const text of [
    'select 1 from threadline.threads', 'select 1 from threadline.kysely_migration', 'create schema mine', 'create table public.mine (x integer)',
    'create role mine', 'create database mine', 'set role pg_read_all_data', 'alter table threadline.threads no force row level security'
  ]) await t.rejects(client.query(text), { code: '42501' }, text)
})

t.test('a login that is more than the service may be is refused', needsServer, async (t) => {
  const database = await ownDatabase(t)
  const { pool, ask } = database
  await migrate(pool)
  const member = ownLogin(t, database)
  await ask(`create role ${member} login; create role ${member}_group nologin; grant ${member}_group to ${member}`)
  t.teardown(async () => { await ask(`drop role ${member}_group`) })
  const owner = new URL(database.url).username
  const failed = { code: 'THREADLINE_MIGRATION_FAILED' }

  await t.rejects(ensureServiceLogin(pool, { name: member }), { ...failed, message: /is a member of .*_group/ })
  await t.rejects(ensureServiceLogin(pool, { name: owner }), { ...failed, message: /owns something/ })
  await t.rejects(ensureServiceLogin(pool, { name: ownLogin(t, database) }), { ...failed, message: /needs a password/ })
  await t.rejects(ensureServiceLogin(pool, { name: 'threadline_app' }), failed)
  await t.rejects(ensureServiceLogin(pool, { name: 'Robert"; drop' }), failed)
  await t.rejects(ensureServiceLogin(pool, { name: ownLogin(t, database), password: 'short' }), { ...failed, message: /from 16 to 256/ })
})

t.test('a server with the service login says what to run where the database is behind', needsServer, async (t) => {
  const database = await ownDatabase(t)
  const url = await serviceUrl(t, database)
  const behind = { code: 'THREADLINE_MIGRATION_FAILED', message: /run `threadline migrate`/ }

  await t.rejects(createStorage({ databaseUrl: url, migrations: demanding }), { ...behind, message: /lacks 9001-demanding, .*run `threadline migrate`/ })
  t.same(await database.ask("select 1 from pg_attribute where attrelid = 'threadline.threads'::regclass and attname = 'extra'"), [], 'it has changed nothing')

  const empty = await ownDatabase(t)
  await t.rejects(createStorage({ databaseUrl: Object.assign(new URL(url), { pathname: new URL(empty.url).pathname }).href }), behind, 'a database that nobody has prepared')
})

t.test('a password leaves as its verifier, with a salt of its own', async (t) => {
  const verifier = toScramVerifier('correct-horse-battery', Buffer.from('0123456789abcdef'))

  t.match(verifier, /^SCRAM-SHA-256\$4096:MDEyMzQ1Njc4OWFiY2RlZg==\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=$/)
  t.not(toScramVerifier('correct-horse-battery'), toScramVerifier('correct-horse-battery'))
})

async function until (holds: () => Promise<boolean>): Promise<void> {
  const endsAt = Date.now() + 20_000
  while (!await holds()) if (Date.now() > endsAt) throw new Error('It did not come to that')
}
