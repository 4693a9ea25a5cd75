import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { openPool } from '../../lib/storage/connection-pool.ts'
import { migrate } from '../../lib/storage/migrate.ts'
import { ensureServiceLogin } from '../../lib/storage/service-login.ts'
import { createThrowawayDatabase } from './throwaway-database.ts'

interface Test {
  teardown (fn: () => Promise<void>): void
}

export interface OwnedDatabase {
  /** With the login that owns it. */
  readonly url: string
  readonly ask: (text: string) => Promise<pg.QueryResultRow[]>
  readonly pool: pg.Pool
}

/** A new database of the server of `TEST_DATABASE_URL`, which nobody has prepared. */
export async function ownDatabase (t: Test): Promise<OwnedDatabase> {
  const database = await createThrowawayDatabase()
  if (database === undefined) throw new Error('TEST_DATABASE_URL is not set')
  t.teardown(async () => { await database.drop() })
  const pool = openPool({ url: database.url, size: 6 }, undefined)
  t.teardown(async () => { await pool.end() })
  return { url: database.url, pool, ask: async (text) => (await pool.query(text)).rows }
}

/** A name that no other test has, gone with the test: logins belong to the whole server. */
export function ownLogin (t: Test, { url }: OwnedDatabase): string {
  const name = `threadline_test_${randomBytes(6).toString('hex')}`
  t.teardown(async () => {
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    try {
      await client.query(`drop role if exists ${name}`)
    } finally {
      await client.end()
    }
  })
  return name
}

export const servicePassword = (): string => randomBytes(16).toString('hex')

export function asLogin (url: string, name: string, password: string): string {
  return Object.assign(new URL(url), { username: name, password }).href
}

/** The URL of a service login of the test's own, on a database that has been prepared. */
export async function serviceUrl (t: Test, database: OwnedDatabase): Promise<string> {
  await migrate(database.pool)
  const name = ownLogin(t, database)
  const password = servicePassword()
  await ensureServiceLogin(database.pool, { name, password })
  return asLogin(database.url, name, password)
}
