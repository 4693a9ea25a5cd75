import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, chown, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { findFreePort } from './cluster/free-port.ts'
import { runCommand } from './cluster/run-command.ts'

interface Test {
  teardown (fn: () => Promise<void>): void
}

const program = '/usr/sbin/pgbouncer'

/** Why a test of poolers is skipped; false where one can be started. */
export const noPooler = process.env['TEST_DATABASE_URL'] === undefined
  ? 'needs a server, named by TEST_DATABASE_URL'
  : !existsSync(program) && 'pgbouncer is not installed (Debian package pgbouncer)'

/**
 * The URL by which a database is reached through a PgBouncer of the test's own, which lends its `poolSize` connections for one transaction each.
 * Ended with the test.
 */
export async function startPooler (t: Test, databaseUrl: string, { poolSize }: { poolSize: number }): Promise<string> {
  const port = await findFreePort()
  const { hostname, port: serverPort, pathname, username, password } = new URL(databaseUrl)
  const name = pathname.slice(1)
  const folder = await mkdtemp(join(tmpdir(), 'threadline-pooler-'))
  t.teardown(async () => { await rm(folder, { recursive: true, force: true }) })
  const file = join(folder, 'pgbouncer.ini')
  // Whoever comes is served as the login of the database; the file with its password is for its user alone.
  await writeFile(file, `[databases]
${name} = host=${hostname} port=${serverPort || '5432'} dbname=${name} user=${decodeURIComponent(username)} password=${decodeURIComponent(password)}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = ${poolSize}
max_client_conn = 200
`, { mode: 0o600 })
  const args = ['-q', file]
  if (process.getuid?.() === 0) {
    const owner = Number(await runCommand('id', ['-u', 'postgres']))
    await chmod(folder, 0o700)
    await chown(folder, owner, -1)
    await chown(file, owner, -1)
    args.unshift('-u', 'postgres')
  }
  const child = spawn(program, args, { stdio: 'ignore' })
  const ended = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  const url = Object.assign(new URL(databaseUrl), { host: `127.0.0.1:${port}` }).href
  await untilItAnswers(url)
  return url
}

async function untilItAnswers (connectionString: string): Promise<void> {
  const endsAt = Date.now() + 20_000
  for (;;) {
    const client = new pg.Client({ connectionString })
    client.on('error', () => { /* told by the rejection */ })
    try {
      await client.connect()
      await client.query('select 1')
      return
    } catch (error) {
      if (Date.now() > endsAt) throw error
      await sleep(50)
    } finally {
      await client.end().catch(() => { /* it was not connected */ })
    }
  }
}
