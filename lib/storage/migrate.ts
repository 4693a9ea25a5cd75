import { Kysely, PostgresAdapter, PostgresDialect, sql } from 'kysely'
import { Migrator, type Migration } from 'kysely/migration'
import type pg from 'pg'
import { isThreadlineError, ThreadlineError } from '../errors.ts'
import { migrations } from './migrations/migrations.ts'
import { ensureRoles } from './roles.ts'
import { toStorageError } from './storage-error.ts'

const lockKey = 7_310_589_114

// Kysely's own lock belongs to the session: behind a pooler it would stay with a connection that others use next, and after a
// failed migration it cannot be given up in the aborted transaction. Ours is taken before and ends with the transaction.
class LockedAdapter extends PostgresAdapter {
  override async acquireMigrationLock (): Promise<void> { /* taken by `migrate` */ }
  override async releaseMigrationLock (): Promise<void> { /* ends with the transaction */ }
}

class MigrationDialect extends PostgresDialect {
  override createAdapter (): PostgresAdapter { return new LockedAdapter() }
}

/**
 * Brings the database to the newest state: roles, and every migration that it does not have yet, all in one transaction under
 * a lock that other processes wait for. When one fails, nothing of it stays, and `THREADLINE_MIGRATION_FAILED` names it.
 * `more` are migrations beside Threadline's own.
 */
export async function migrate (pool: pg.Pool, more: Readonly<Record<string, Migration>> = {}): Promise<void> {
  const db = new Kysely<unknown>({ dialect: new MigrationDialect({ pool }) })
  try {
    await db.transaction().execute(async (transaction) => {
      await sql`select pg_advisory_xact_lock(${sql.lit(lockKey)})`.execute(transaction)
      await ensureRoles(transaction)
      await runMigrations(transaction, { ...migrations, ...more })
    })
  } catch (error) {
    throw migrationError(error)
  }
}

async function runMigrations (db: Kysely<unknown>, all: Record<string, Migration>): Promise<void> {
  const migrator = new Migrator({
    db,
    provider: { getMigrations: async () => all },
    migrationTableSchema: 'threadline'
  })
  const { error, results } = await migrator.migrateToLatest()
  if (error === undefined) return
  const failed = results?.find(({ status }) => status === 'Error')?.migrationName
  throw new ThreadlineError(
    'THREADLINE_MIGRATION_FAILED',
    failed === undefined ? 'The migrations could not be run' : `The migration ${failed} failed`,
    { cause: error }
  )
}

function migrationError (error: unknown): unknown {
  if (isThreadlineError(error)) return error
  const known = toStorageError(error)
  if (isThreadlineError(known, 'THREADLINE_STORAGE_UNAVAILABLE')) return known
  return new ThreadlineError('THREADLINE_MIGRATION_FAILED', 'The database could not be prepared', { cause: error })
}
