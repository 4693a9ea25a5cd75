import { spawn } from 'node:child_process'
import { PassThrough, type Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { runMigrate } from '../../bin/migrate/run-migrate.ts'
import { migrations } from '../../lib/storage/migrations/migrations.ts'
import { createStorage } from '../../lib/storage/open-storage.ts'
import { asLogin, ownDatabase, ownLogin, servicePassword } from '../support/service-login.ts'

const needsServer = { skip: process.env['TEST_DATABASE_URL'] === undefined && 'needs a server, named by TEST_DATABASE_URL' }
const program = fileURLToPath(new URL('../../bin/threadline.ts', import.meta.url))

async function run (args: readonly string[], env: Readonly<Record<string, string>> = {}, stdin: Readable = new PassThrough().end()) {
  const said = { out: '', err: '' }
  const code = await runMigrate(args, env, {
    stdin, stdout: { write: (piece) => { said.out += piece } }, stderr: { write: (piece) => { said.err += piece } }
  })
  return { code, ...said }
}

t.test('the command brings a database up, and does nothing the second time', needsServer, async (t) => {
  const { url } = await ownDatabase(t)
  const child = spawn(process.execPath, [program, 'migrate'], { env: { PATH: process.env['PATH'], DATABASE_URL: url }, stdio: ['ignore', 'pipe', 'pipe'] })
  const code = new Promise((resolve) => { child.once('close', resolve) })
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)])

  const again = await run(['--database-url', url])

  t.same([await code, err], [0, ''])
  for (const name of Object.keys(migrations)) t.match(out, `ran ${name}\n`)
  t.match(out, /✓ The schema is in the newest state\n$/)
  t.same(again, { code: 0, out: '✓ The schema was in the newest state\n', err: '' })
})

t.test('a password makes the service login, and is in nothing that is said', needsServer, async (t) => {
  const database = await ownDatabase(t)
  const env = { DATABASE_URL: database.url }
  const [name, password, changed] = [ownLogin(t, database), servicePassword(), servicePassword()]

  const made = await run(['--service-login', name], { ...env, THREADLINE_SERVICE_PASSWORD: password })
  const updated = await run(['--service-login', name, '--password-stdin'], env, new PassThrough().end(`${changed}\n`))
  const kept = await run(['--service-login', name], env)

  t.same([made.code, updated.code, kept.code], [0, 0, 0], made.err + updated.err + kept.err)
  t.match(made.out, `✓ The login ${name} was made: it owns nothing`)
  t.match(updated.out, `✓ The login ${name} was updated`)
  for (const { out, err } of [made, updated, kept]) for (const secret of [password, changed]) t.notMatch(out + err, secret)
  await t.resolves(createStorage({ databaseUrl: asLogin(database.url, name, changed) }).then(async (storage) => { await storage.close() }))
  await t.rejects(createStorage({ databaseUrl: asLogin(database.url, name, password) }), { code: 'THREADLINE_STORAGE_UNAVAILABLE', message: /password authentication failed/ }, 'the former one is over')
})

t.test('the exit code tells a refusal from what could not be tried', needsServer, async (t) => {
  const database = await ownDatabase(t)
  const owner = new URL(database.url).username
  const secret = 'do-not-tell-this-to-anybody'
  const wrong = asLogin(database.url, owner, secret)

  const results = await Promise.all([
    run(['--service-login', owner], { DATABASE_URL: database.url }),
    run(['--service-login', 'threadline_x', '--password-stdin'], { DATABASE_URL: database.url }),
    run([], { DATABASE_URL: wrong }),
    run([], { DATABASE_URL: `postgres://${secret}@127.0.0.1:1/nowhere` }),
    run([], {}),
    run([], { DATABASE_URL: `mysql://${secret}@host/x` }),
    run(['--password', secret], { DATABASE_URL: database.url })
  ])

  t.same(results.map(({ code }) => code), [1, 2, 2, 2, 2, 2, 2])
  t.match(results[0]?.err, /owns something/)
  t.match(results[1]?.err, /standard input has no password/)
  t.match(results[2]?.err, /password authentication failed/)
  t.match(results[4]?.err, /Say which database/)
  t.notMatch(results.map(({ out, err }) => out + err).join(), secret)
})

t.test('help is told', async (t) => {
  const { code, out } = await run(['--help'])

  t.equal(code, 0)
  t.match(out, /threadline migrate --service-login/)
})
