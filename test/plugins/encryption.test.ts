import { inspect } from 'node:util'
import { PassThrough } from 'node:stream'
import pg from 'pg'
import t, { type Test } from 'tap'
import { runDoctor } from '../../bin/doctor/run-doctor.ts'
import { runMigrate } from '../../bin/migrate/run-migrate.ts'
import { until } from '../events/bus-contract.ts'
import { linesOf, openBusNode, told } from '../support/bus-nodes.ts'
import { makeAuthority } from '../support/certificates.ts'
import { findPostgres, startPostgresServer } from '../support/cluster/postgres-server.ts'
import { findRedis } from '../support/cluster/redis-server.ts'
import { startRedisServer } from '../support/redis-server.ts'

// Debian's: the Valkey of scripts/services.sh is built without TLS.
delete process.env['TEST_REDIS_SERVER']
const redisProgram = findRedis()
const missing = findPostgres() === undefined ? 'Postgres' : redisProgram === undefined ? 'Redis' : undefined
const skip = missing === undefined ? false : `${missing} is not installed`
const password = 'not-for-a-log'

/** A Postgres and an authority that vouches for it as `names`; the URL demands that it is `localhost`. */
async function encryptedPostgres (t: Test, names = 'DNS:localhost') {
  const authority = await makeAuthority(t)
  const server = await startPostgresServer(t, { certificate: await authority.issue(names) })
  const plain = Object.assign(new URL(server.url), { hostname: 'localhost', password }).href
  return { authority, plain, trusting: (file: string) => `${plain}?sslmode=verify-full&sslrootcert=${file}` }
}

// kills: `ca` of encryptionFor in lib/events/redis-trust.ts; that it is given to the second connection, by redisOptionsOf, or to a cluster, by openCluster
for (const cluster of [false, true]) {
  t.test(`nodes tell each other over an encrypted ${cluster ? 'cluster of Redis' : 'Redis'} and, without it, over an encrypted Postgres`, { skip }, async (t) => {
    const { authority, trusting } = await encryptedPostgres(t)
    const redis = await startRedisServer(t, { cluster, password, encrypted: { authority, certificate: await authority.issue('DNS:localhost') } })
    // No event may be found by asking for it.
    const env = { DATABASE_URL: trusting(authority.file), REDIS_URL: redis.url, REDIS_CA_FILE: authority.file, POLL_INTERVAL_MS: 600_000, DOUBTFUL_POLL_INTERVAL_MS: 600_000 }
    const one = await openBusNode(t, env)
    const other = await openBusNode(t, env)

    await until(() => one.app.redis?.up === true && other.app.redis?.up === true && !one.app.bus.doubtful && !other.app.bus.doubtful, 20)
    t.same(await told(one, other), [1, 2, 3])
    await redis.kill()
    await until(() => linesOf(other, 'Redis is away') > 0, 20)
    t.same(await told(one, other), [1, 2, 3])
    t.same(await connectionsOf(trusting(authority.file)), ['encrypted'])
  })
}

/** How the server sees those of the service. */
async function connectionsOf (url: string): Promise<readonly string[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    const { rows } = await client.query<{ how: string }>(`
      select distinct case when ssl then 'encrypted' else 'plain' end as how
      from pg_stat_ssl join pg_stat_activity using (pid) where application_name like 'threadline%'`)
    return rows.map(({ how }) => how)
  } finally {
    await client.end()
  }
}

// kill: give `ssl: { rejectUnauthorized: false }` to pools in lib/storage/connection-pool.ts
t.test('a Postgres that is not trusted, not the one that was named, or not encrypted keeps a service from starting, with what to do', { skip }, async (t) => {
  const { authority, plain, trusting } = await encryptedPostgres(t)
  const [foreign, elsewhere, unencrypted] = await Promise.all([makeAuthority(t), encryptedPostgres(t, 'DNS:database.example'), startPostgresServer(t)])
  const cases: Readonly<Record<string, readonly [string, RegExp]>> = {
    'of another authority': [trusting(foreign.file), /not trusted.*sslrootcert in DATABASE_URL/],
    'of no authority that Node trusts': [`${plain}?sslmode=verify-full`, /not trusted.*sslrootcert in DATABASE_URL/],
    'of another host': [elsewhere.trusting(elsewhere.authority.file), /another host.*the server as its certificate does/],
    'without encryption': [`${Object.assign(new URL(unencrypted.url), { hostname: 'localhost', password }).href}?sslmode=verify-full`, /does not encrypt.*ssl = on/],
    'without the file': [trusting(`${authority.file}-missing`), /sslrootcert cannot be read/]
  }

  for (const [name, [url, message]] of Object.entries(cases)) {
    const error: unknown = await openBusNode(t, { DATABASE_URL: url }).catch((error: unknown) => error)
    t.match(error, { code: 'THREADLINE_INVALID_CONFIGURATION', field: 'DATABASE_URL', message }, name)
    t.notMatch(inspect(error), password, name)
    const doctor = await runDoctorOn({ DATABASE_URL: url })
    t.match(doctor, { code: 1, out: message }, `${name}, to the doctor`)
    t.notMatch(doctor.out, password)
  }
})

t.test('nobody migrates a database whose server is not trusted', { skip }, async (t) => {
  const { trusting } = await encryptedPostgres(t)
  const foreign = await makeAuthority(t)
  let said = ''
  const write = (piece: string) => { said += piece }

  const code = await runMigrate([], { DATABASE_URL: trusting(foreign.file) }, { stdin: new PassThrough(), stdout: { write }, stderr: { write } })

  t.equal(code, 2)
  t.match(said, /not trusted.*sslrootcert in DATABASE_URL/)
  t.notMatch(said, password)
})

// kill: `rejectUnauthorized: false` in encryptionFor of lib/events/redis-trust.ts
t.test('a Redis that is not trusted is not used: the log says once what to do, and Postgres does the work', { skip }, async (t) => {
  const [authority, foreign, postgres] = await Promise.all([makeAuthority(t), makeAuthority(t), startPostgresServer(t)])
  const redis = await startRedisServer(t, { password, encrypted: { authority, certificate: await authority.issue('DNS:localhost') } })
  const cases: Readonly<Record<string, readonly [Record<string, string>, RegExp]>> = {
    'of another authority': [{ REDIS_URL: redis.url, REDIS_CA_FILE: foreign.file }, /not trusted.*REDIS_CA_FILE/],
    'of no authority that Node trusts': [{ REDIS_URL: redis.url }, /not trusted.*REDIS_CA_FILE/],
    'of another host': [{ REDIS_URL: redis.url.replace('localhost', '127.0.0.1'), REDIS_CA_FILE: authority.file }, /another host.*REDIS_URL as its certificate does/]
  }

  for (const [name, [env, message]] of Object.entries(cases)) {
    const node = await openBusNode(t, { DATABASE_URL: postgres.url, ...env })
    await until(() => linesOf(node, 'Redis is away') > 0, 20)
    t.same(await told(node, node), [1, 2, 3], name)
    t.equal(node.app.redis?.up, false, name)
    t.equal(linesOf(node, 'Redis is away'), 1, name)
    const line = JSON.parse(node.lines.find((line) => line.includes('Redis is away')) ?? '{}') as { err?: object } // what pino has written
    t.match(line.err, { code: 'THREADLINE_INVALID_CONFIGURATION', message }, name)
    t.notMatch(node.lines.join(''), password, name)
    const doctor = await runDoctorOn({ DATABASE_URL: postgres.url, ...env })
    t.match(doctor, { code: 1, out: message }, `${name}, to the doctor`)
    t.notMatch(doctor.out, password)
  }
})

t.test('a file of authorities that cannot be read, or holds none, keeps a service from starting', { skip }, async (t) => {
  const [authority, postgres] = await Promise.all([makeAuthority(t), startPostgresServer(t)])
  const files = [`${authority.file}-missing`, new URL(import.meta.url).pathname]

  for (const file of files) {
    await t.rejects(openBusNode(t, { DATABASE_URL: postgres.url, REDIS_URL: 'rediss://localhost:1', REDIS_CA_FILE: file }), {
      code: 'THREADLINE_INVALID_CONFIGURATION', field: 'REDIS_CA_FILE', message: /^REDIS_CA_FILE must be a file of certificates/
    })
  }
  await t.rejects(openBusNode(t, { DATABASE_URL: postgres.url, REDIS_URL: 'redis://localhost:1', REDIS_CA_FILE: authority.file }), {
    code: 'THREADLINE_INVALID_CONFIGURATION', field: 'REDIS_CA_FILE', message: /rediss:/
  })
})

async function runDoctorOn (env: Readonly<Record<string, string>>): Promise<{ readonly code: number, readonly out: string }> {
  let out = ''
  const write = (piece: string) => { out += piece }
  const code = await runDoctor([], env, { stdout: { write }, stderr: { write } })
  return { code, out }
}
