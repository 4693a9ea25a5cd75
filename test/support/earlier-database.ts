import { Kysely, PostgresDialect } from 'kysely'
import { Migrator } from 'kysely/migration'
import type pg from 'pg'
import type { Test } from 'tap'
import { openPool } from '../../lib/storage/connection-pool.ts'
import { migrations } from '../../lib/storage/migrations/migrations.ts'
import { PgliteDatabase } from '../../lib/storage/pglite-database.ts'
import { ensureRoles } from '../../lib/storage/roles.ts'
import { createThrowawayDatabase } from './throwaway-database.ts'

/** A test with a database as an earlier version has left it, whose last migration is named: embedded, and on the server where there is one. */
export function onEachEarlierDatabase (t: Test, name: string, last: keyof typeof migrations, test: (t: Test, pool: pg.Pool) => Promise<void>): void {
  const databases = { embedded: openEmbedded, ...(process.env['TEST_DATABASE_URL'] === undefined ? {} : { server: openServer }) }
  for (const [kind, open] of Object.entries(databases)) {
    t.test(`${name}, on the ${kind} database`, async (t) => {
      const pool = await open(t)
      t.teardown(async () => { await pool.end() })
      await migrateTo(pool, last)
      await test(t, pool)
    })
  }
}

async function migrateTo (pool: pg.Pool, last: string): Promise<void> {
  const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) })
  await db.transaction().execute(async (transaction) => {
    await ensureRoles(transaction)
    const migrator = new Migrator({
      db: transaction, provider: { getMigrations: async () => migrations }, migrationTableSchema: 'threadline'
    })
    const { error } = await migrator.migrateTo(last)
    if (error !== undefined) throw new Error('The first migrations failed', { cause: error })
  })
}

async function openEmbedded (t: Test): Promise<pg.Pool> {
  const embedded = new PgliteDatabase(undefined, undefined)
  t.teardown(async () => { await embedded.close() })
  await embedded.start()
  return openPool({ embedded }, undefined)
}

async function openServer (t: Test): Promise<pg.Pool> {
  const throwaway = await createThrowawayDatabase()
  if (throwaway === undefined) throw new Error('TEST_DATABASE_URL is not set')
  t.teardown(async () => { await throwaway.drop() })
  return openPool({ url: throwaway.url, size: 2 }, undefined)
}
