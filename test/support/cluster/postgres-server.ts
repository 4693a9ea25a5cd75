import { existsSync, readdirSync } from 'node:fs'
import { chmod, chown, copyFile, mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import type { Certificate } from '../certificates.ts'
import { findFreePort } from './free-port.ts'
import { runAsPostgres, runCommand } from './run-command.ts'

interface Test {
  teardown (fn: () => Promise<void>): void
}

export interface PostgresServer {
  /** Of a database that its role owns, as `scripts/services.sh` makes it. */
  readonly url: string
  start (): Promise<void>
  /** `immediate` is a crash: what was committed is there afterwards, and it recovers when it starts. */
  stop (mode: 'fast' | 'immediate'): Promise<void>
}

/** Where the programs are: in `TEST_POSTGRES_BIN`, else those of Debian's package; undefined where they are not installed. */
export function findPostgres (): string | undefined {
  const named = process.env['TEST_POSTGRES_BIN']
  if (named !== undefined) return named
  const versions = existsSync('/usr/lib/postgresql') ? readdirSync('/usr/lib/postgresql').toSorted((a, b) => Number(b) - Number(a)) : []
  return versions.map((version) => `/usr/lib/postgresql/${version}/bin`).find((folder) => existsSync(join(folder, 'initdb')))
}

/** A server of the test's own, which can be stopped and started again on its port. Removed with the test. With a certificate it can be reached by TLS, too. */
export async function startPostgresServer (t: Test, { certificate }: { certificate?: Certificate } = {}): Promise<PostgresServer> {
  const programs = findPostgres()
  if (programs === undefined) throw new Error('Postgres is not installed')
  const [folder, port] = await Promise.all([makeFolder(t), findFreePort()])
  const data = join(folder, 'data')
  const control = async (...args: string[]): Promise<void> => { await runAsPostgres(join(programs, 'pg_ctl'), [...args, '-D', data, '-w', '-t', '50', '-s']) }
  // It keeps its durability: what a commit has promised is there after a crash.
  const options = `-p ${port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=100 -c shared_buffers=64MB${certificate === undefined ? '' : await encrypting(folder, certificate)}`

  const start = async (): Promise<void> => { await control('start', '-l', join(folder, 'log'), '-o', options) }
  let running = true
  await runAsPostgres(join(programs, 'initdb'), ['-D', data, '-U', 'postgres', '--auth=trust', '--encoding=UTF8', '--locale=C.UTF-8', '--no-sync'])
  await start()
  t.teardown(async () => {
    if (running) await control('stop', '-m', 'immediate')
    await rm(folder, { recursive: true, force: true })
  })
  await makeDatabase(port)
  return {
    url: `postgres://threadline@127.0.0.1:${port}/threadline`,
    async start () {
      await start()
      running = true
    },
    async stop (mode) {
      await control('stop', '-m', mode)
      running = false
    }
  }
}

async function makeFolder (t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'threadline-postgres-'))
  t.teardown(async () => { await rm(folder, { recursive: true, force: true }) })
  await chmod(folder, 0o700)
  if (process.getuid?.() === 0) await chown(folder, Number(await runCommand('id', ['-u', 'postgres'])), (await stat(folder)).gid)
  return folder
}

/** Its own copies, since it takes no key that others can read. */
async function encrypting (folder: string, { certificate, key }: Certificate): Promise<string> {
  const own = { certificate: join(folder, 'server.pem'), key: join(folder, 'server.key') }
  await copyFile(certificate, own.certificate)
  await copyFile(key, own.key)
  const { uid, gid } = await stat(folder)
  for (const file of Object.values(own)) {
    await chmod(file, 0o600)
    await chown(file, uid, gid)
  }
  return ` -c ssl=on -c ssl_cert_file=${own.certificate} -c ssl_key_file=${own.key}`
}

async function makeDatabase (port: number): Promise<void> {
  const client = new pg.Client({ host: '127.0.0.1', port, user: 'postgres', database: 'postgres' })
  await client.connect()
  try {
    await client.query('create role threadline login createrole createdb nosuperuser nobypassrls')
    await client.query('create database threadline owner threadline')
  } finally {
    await client.end()
  }
}
