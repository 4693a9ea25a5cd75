import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import pg from 'pg'
import { openPool } from '../../lib/storage/connection-pool.ts'
import { migrate } from '../../lib/storage/migrate.ts'

const storage = new URL('../../lib/storage/', import.meta.url)
/** Of one session at a time: whoever makes the template. The server knows it for its database alone. */
const lockKey = 7_310_589_115

let made: Promise<string> | undefined

/**
 * The name of a database in the newest state that others are copied from. There is one on a server for each text of the migrations: it is made by
 * whoever asks first, others wait for it, and it stays until the server's data go (`scripts/services.sh stop`).
 */
export async function templateDatabase (server: string): Promise<string> {
  return await (made ??= findOrMake(server))
}

async function findOrMake (server: string): Promise<string> {
  const name = `threadline_template_${await schemaVersion()}`
  const client = new pg.Client({ connectionString: server })
  await client.connect()
  try {
    if (await exists(client, name)) return name
    await client.query('select pg_advisory_lock($1)', [lockKey])
    if (!await exists(client, name)) await make(client, server, name)
    return name
  } finally {
    await client.end()
  }
}

// Under its own name only once it is whole. Who copies it must find nobody connected, so nobody may.
async function make (client: pg.Client, server: string, name: string): Promise<void> {
  const unfinished = `${name}_unfinished`
  await client.query(`drop database if exists ${unfinished}`)
  await client.query(`create database ${unfinished}`)
  const url = new URL(server)
  url.pathname = `/${unfinished}`
  const pool = openPool({ url: url.href, size: 1 }, undefined)
  try {
    await migrate(pool)
  } finally {
    await pool.end()
  }
  await client.query(`alter database ${unfinished} rename to ${name}`)
  await client.query(`alter database ${name} with allow_connections false`)
}

async function exists (client: pg.Client, name: string): Promise<boolean> {
  return (await client.query('select from pg_database where datname = $1', [name])).rowCount === 1
}

async function schemaVersion (): Promise<string> {
  const files = await readdir(new URL('migrations/', storage))
  const hash = createHash('sha256')
  for (const file of ['migrate.ts', 'roles.ts', ...files.toSorted().map((file) => `migrations/${file}`)]) {
    hash.update(`${file}\n`).update(await readFile(new URL(file, storage)))
  }
  return hash.digest('hex').slice(0, 16)
}
