import { createServer } from 'node:net'
import { once } from 'node:events'
import pg from 'pg'
import t, { type Test } from 'tap'
import { runDoctor } from '../../bin/doctor/run-doctor.ts'
import { migrate } from '../../lib/storage/migrate.ts'
import { findPostgres, startPostgresServer } from '../support/cluster/postgres-server.ts'
import { asLogin, ownDatabase, serviceUrl, type OwnedDatabase } from '../support/service-login.ts'

const needsServer = { skip: process.env['TEST_DATABASE_URL'] === undefined && 'needs a server, named by TEST_DATABASE_URL' }

interface Finding { readonly check: string, readonly outcome: string, readonly message: string, readonly advice?: string }

async function run (args: readonly string[], env: Readonly<Record<string, string>> = {}, now?: () => number) {
  const said = { out: '', err: '' }
  const code = await runDoctor(args, env, { stdout: { write: (piece) => { said.out += piece } }, stderr: { write: (piece) => { said.err += piece } } }, now)
  return { code, ...said }
}

async function examine (env: Readonly<Record<string, string>>, now?: () => number): Promise<{ code: number, findings: readonly Finding[], of: (check: string) => Finding | undefined }> {
  const { code, out } = await run(['--json'], env, now)
  const { findings } = JSON.parse(out) as { findings: readonly Finding[] } // what the command has just written
  return { code, findings, of: (name) => findings.find(({ check, outcome }) => check === name && outcome !== 'ok') ?? findings.find(({ check }) => check === name) }
}

async function prepared (t: Test): Promise<OwnedDatabase & { readonly service: string }> {
  const database = await ownDatabase(t)
  return { ...database, service: await serviceUrl(t, database) }
}

t.test('nothing is wrong with a new database and the service login', needsServer, async (t) => {
  const { service } = await prepared(t)

  const { code, findings, of } = await examine({ DATABASE_URL: service })

  t.equal(code, 0)
  t.same(findings.filter(({ outcome }) => outcome !== 'ok').map(({ check }) => check), ['Authentication'], JSON.stringify(findings, undefined, 1))
  t.same(findings.map(({ check }) => check), [
    'Node', 'Postgres', 'Notifications', 'Schema', 'Roles', 'Row security', 'Policies', 'Settings', 'Clocks', 'Signing key', 'Authentication', 'Telemetry'
  ])
  t.match(of('Policies')?.message, /neither read, change, remove nor forge a row of threads, .*messages, .*runs/, 'each table could be tried')
})

t.test('what it writes does not stay', needsServer, async (t) => {
  const { service, pool } = await prepared(t)
  await examine({ DATABASE_URL: service })
  const client = new pg.Client({ connectionString: service })
  await client.connect()
  t.teardown(async () => { await client.end() })

  // Of tables without row-level security it can be counted what is in them.
  await pool.query('alter table threadline.threads no force row level security')
  const { rows } = await pool.query('select count(*)::integer as count from threadline.threads')

  t.same(rows, [{ count: 0 }])
})

/** Each breaks one thing, as the owner of the database may. */
const breaks: readonly (readonly [what: string, sql: string, check: string, message: RegExp])[] = [
  ['a policy that lets everybody read', 'create policy everything on threadline.messages for select to threadline_app using (true)', 'Policies', /messages can be read by another user/],
  ['a policy that lets everybody write', 'create policy everything on threadline.threads for insert to threadline_app with check (true)', 'Policies', /threads can be forged by another user/],
  ['a policy that was dropped', 'drop policy own_rows on threadline.runs', 'Policies', /runs/],
  ['row security that was switched off', 'alter table threadline.usage disable row level security', 'Policies', /usage can be read, .*forged by another user/],
  ['the same, seen in the catalogue', 'alter table threadline.usage disable row level security', 'Row security', /usage/],
  ['force that was removed', 'alter table threadline.tickets no force row level security', 'Row security', /is not forced on tickets/],
  ['a missing user that is answered with nothing', "create or replace function threadline.current_user_id() returns text language sql stable as $$ select coalesce(current_setting('threadline.user_id', true), '') $$", 'Policies', /is not refused without a user/],
  ['a migration that is missing', "delete from threadline.kysely_migration where name = '0009-retention'", 'Schema', /lacks 0009-retention/],
  ['a state that cannot be read', 'revoke select on threadline.kysely_migration from threadline_system', 'Schema', /not prepared for this login/]
]

t.test('what was broken is found, and what to do is said', needsServer, async (t) => {
  for (const [what, sql, check, message] of breaks) {
    const { service, ask } = await prepared(t)
    await ask(sql)

    const { code, of } = await examine({ DATABASE_URL: service })

    t.equal(code, 1, what)
    t.match(of(check), { outcome: 'failed', message, advice: /../ }, what)
  }
})

// kill: `rollback to savepoint attempt` after what has succeeded, in bin/doctor/checks/try-policies.ts
t.test('where the threads are open to everybody, that alone is told, and not that other tables cannot be tried', needsServer, async (t) => {
  const { service, ask } = await prepared(t)
  await ask('alter table threadline.threads disable row level security')

  const { findings } = await examine({ DATABASE_URL: service })

  const told = findings.filter(({ check, outcome }) => check === 'Policies' && outcome !== 'ok').map(({ message }) => message)
  t.same(told, ['a row of threads can be read, changed, removed, forged by another user', 'threads can be read without a user'])
})

t.test('the owner\'s login is warned of, and that it would migrate', needsServer, async (t) => {
  const { url, pool, ask } = await ownDatabase(t)
  await migrate(pool)
  await ask("delete from threadline.kysely_migration where name = '0009-retention'")

  const { code, of } = await examine({ DATABASE_URL: url })

  t.equal(code, 0)
  t.match(of('Roles'), { outcome: 'warning', message: /owns the schema/, advice: /--service-login/ })
  t.match(of('Schema'), { outcome: 'warning', message: /the next server that starts will run/ })
})

t.test('a database that nobody has prepared is told as such', needsServer, async (t) => {
  const { url } = await ownDatabase(t)

  const { code, of } = await examine({ DATABASE_URL: url })

  t.equal(code, 1)
  t.match(of('Row security'), { outcome: 'failed', advice: /threadline migrate/ })
})

t.test('clocks that differ are told by how much', needsServer, async (t) => {
  const { service } = await prepared(t)
  const shifted = async (ms: number) => (await examine({ DATABASE_URL: service }, () => Date.now() + ms)).of('Clocks')

  t.match(await shifted(0), { outcome: 'ok' })
  t.match(await shifted(-2_500), { outcome: 'warning', message: /of Postgres is 2\d\d\d ms ahead of this machine's/ })
  t.match(await shifted(60_000), { outcome: 'failed', message: /(59|60)\d\d\d ms behind/, advice: /NTP/ })
})

t.test('a password and a key are never said', needsServer, async (t) => {
  const { service, url } = await prepared(t)
  const secret = 'do-not-tell-this-to-anybody-at-all'
  const login = new URL(service).username

  const wrong = await run([], { DATABASE_URL: asLogin(url, login, secret), SIGNING_KEYS: secret })
  const right = await run([], { DATABASE_URL: service, SIGNING_KEYS: secret, AUTH_SECRET: secret, AUTH_ISSUER: 'x', AUTH_AUDIENCE: 'y' })
  const invalid = await run([], { DATABASE_URL: service, SIGNING_KEYS: secret.slice(0, 20) })

  t.equal(wrong.code, 1)
  t.match(wrong.out, /✗ Postgres .* cannot be used: password authentication failed/)
  t.equal(right.code, 0)
  t.equal(invalid.code, 1)
  t.match(invalid.out, /✗ Configuration +SIGNING_KEYS must have at least 32 bytes each/)
  for (const { out, err } of [wrong, right, invalid]) {
    t.notMatch(out + err, secret.slice(0, 20))
    t.notMatch(out + err, new URL(service).password)
  }
})

t.test('the key of the database is warned of as long as it is trusted beside another one', needsServer, async (t) => {
  const { service } = await prepared(t)
  const own = 'k'.repeat(32)
  const withKeys = async (keys: string) => (await examine({ DATABASE_URL: service, SIGNING_KEYS: keys })).of('Signing key')

  t.match(await withKeys(`${own},database`), { outcome: 'warning', advice: /take "database" out/ })
  t.match(await withKeys(own), { outcome: 'ok' })
})

t.test('what cannot be reached is told', async (t) => {
  const { port } = await silentServer(t)

  const { code, of } = await examine({
    DATABASE_URL: `postgres://nobody@127.0.0.1:${port}/nowhere`, OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1', AUTH_JWKS_URL: 'http://127.0.0.1:1/keys',
    AUTH_ISSUER: 'x', AUTH_AUDIENCE: 'y', HOST: '0.0.0.0'
  })

  t.equal(code, 1)
  t.match(of('Postgres'), { outcome: 'failed', message: new RegExp(`127\\.0\\.0\\.1:${port}/nowhere cannot be used`) })
  t.match(of('Telemetry'), { outcome: 'warning', message: /nobody listens at 127\.0\.0\.1:1/ })
  t.match(of('Authentication'), { outcome: 'failed', message: /AUTH_JWKS_URL cannot be read/ })
})

t.test('Redis is tried by a message there and back, and its clock compared', { skip: needsServer.skip || (process.env['TEST_REDIS_URL'] === undefined && 'needs a Redis, named by TEST_REDIS_URL') }, async (t) => {
  const { service } = await prepared(t)
  const redisUrl = process.env['TEST_REDIS_URL'] ?? ''
  const env = { DATABASE_URL: service, SIGNING_KEYS: 'k'.repeat(32) }
  const wrong = Object.assign(new URL(redisUrl), { password: 'do-not-tell-this-to-anybody' }).href

  const { code, findings } = await examine({ ...env, REDIS_URL: redisUrl })
  const late = await examine({ ...env, REDIS_URL: redisUrl }, () => Date.now() + 60_000)
  const away = await examine({ ...env, REDIS_URL: 'redis://127.0.0.1:1' })
  const refused = await run(['--redis-url', wrong], env)

  t.equal(code, 0)
  t.match(findings.find(({ check }) => check === 'Redis'), { outcome: 'ok', message: /[78]\.\d.* carries a message there and back in \d+ ms/ })
  t.ok(findings.some(({ check, message, outcome }) => check === 'Clocks' && /of Redis/.test(message) && outcome === 'ok'))
  t.ok(late.findings.some(({ check, message, outcome }) => check === 'Clocks' && /of Redis/.test(message) && outcome === 'failed'))
  t.equal(away.code, 1)
  t.match(away.of('Redis'), { outcome: 'failed', message: /127\.0\.0\.1:1 cannot be used/, advice: /REDIS_URL/ })
  t.equal(refused.code, 1)
  t.match(refused.out, /✗ Redis +.* cannot be used: .*(WRONGPASS|NOAUTH)/)
  t.notMatch(refused.out + refused.err, 'do-not-tell-this-to-anybody')
})

t.test('a role that gets around row-level security, and a login that is a superuser, are found', { skip: findPostgres() === undefined && 'Postgres is not installed' }, async (t) => {
  const { url } = await startPostgresServer(t)
  const superuser = Object.assign(new URL(url), { username: 'postgres' }).href
  const pool = new pg.Pool({ connectionString: superuser, max: 1 })
  t.teardown(async () => { await pool.end() })
  const owner = new pg.Pool({ connectionString: url, max: 1 })
  await migrate(owner)
  await owner.end()
  await pool.query('alter role threadline_app bypassrls')

  const { findings, code } = await examine({ DATABASE_URL: superuser })
  const found = findings.filter(({ outcome }) => outcome === 'failed').map(({ check, message }) => `${check}: ${message}`)

  t.equal(code, 1)
  t.match(found, [/Roles: threadline_app gets around row-level security/, /Roles: the login postgres is a superuser/, /Policies: .*can be read/])
})

t.test('without a database there is little to check', async (t) => {
  const { code, out } = await run([], {})

  t.equal(code, 0)
  t.match(out, /✓ Postgres +is not used: the embedded database serves one process/)
  t.match(out, /0 failed, 1 to look at, \d in order\n$/)
})

t.test('arguments that are not understood are said, with exit code 2', async (t) => {
  t.match(await run(['--frobnicate']), { code: 2, out: '', err: /--frobnicate/ })
  t.match(await run(['--help']), { code: 0, out: /Exit code/ })
})

/** Hangs up on everybody. */
async function silentServer (t: Test): Promise<{ port: number }> {
  const server = createServer((socket) => { socket.destroy() }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close() })
  const address = server.address()
  return { port: typeof address === 'object' && address !== null ? address.port : 0 }
}
