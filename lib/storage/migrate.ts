import { setTimeout as delay } from 'node:timers/promises'
import { Kysely, PostgresAdapter, PostgresDialect, sql } from 'kysely'
import { Migrator, type Migration } from 'kysely/migration'
import pg from 'pg'
import { isThreadlineError, ThreadlineError } from '../errors.ts'
import { migrations } from './migrations/migrations.ts'
import { ensureRoles } from './roles.ts'
import { compareSchema, readExecuted } from './schema-state.ts'
import { toConnectionError } from './server-trust.ts'

const lockKey = 7_310_589_114

/** How long a migration waits for whom, all in ms. */
export interface MigrationLimits {
  /** For another process that migrates the same database. */
  readonly turnMs: number
  /**
   * For a table that a transaction of the running service uses. Meanwhile everything else that wants the table waits behind the migration, so
   * it gives up soon, lets all of them pass, and tries again.
   */
  readonly lockMs: number
  /** How often it tries. */
  readonly attempts: number
  /** How long it lets others pass before it tries again. */
  readonly pauseMs: number
  /** For a single statement. */
  readonly statementMs: number
}

/** Together less than a server may take to start, should it migrate its database itself. */
const defaultLimits: MigrationLimits = { turnMs: 600_000, lockMs: 2_000, attempts: 15, pauseMs: 750, statementMs: 900_000 }

export interface Migrated {
  /** Those that were run now, in this order. */
  readonly ran: readonly string[]
  /** Those of a newer version, which were there already. */
  readonly newer: readonly string[]
}

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
 * a lock that other processes wait for. A database that a newer version has migrated is left as it is. When a migration fails, nothing of
 * it stays, and `THREADLINE_MIGRATION_FAILED` names it. `more` are migrations beside Threadline's own.
 */
export async function migrate (
  pool: pg.Pool, more: Readonly<Record<string, Migration>> = {}, limits: Partial<MigrationLimits> = {}
): Promise<Migrated> {
  const all = { ...defaultLimits, ...limits }
  const db = new Kysely<unknown>({ dialect: new MigrationDialect({ pool }) })
  for (let attempt = 1; ; attempt++) {
    try {
      return await migrateOnce(db, { ...migrations, ...more }, all)
    } catch (error) {
      if (!waitedForALock(error)) throw migrationError(error)
      if (attempt >= all.attempts) throw blockedError(error, all)
    }
    // Not in step with what comes at regular times.
    await delay(all.pauseMs * (0.5 + Math.random()))
  }
}

async function migrateOnce (db: Kysely<unknown>, known: Readonly<Record<string, Migration>>, limits: MigrationLimits): Promise<Migrated> {
  return await db.transaction().execute(async (transaction) => {
    // For this transaction alone: what is set on a connection would stay behind a pooler. A limit of the role or the database would be another one.
    await sql`set local statement_timeout = ${sql.lit(limits.statementMs)}`.execute(transaction)
    await takeTurn(transaction, limits)
    await sql`set local lock_timeout = ${sql.lit(limits.lockMs)}`.execute(transaction)
    await ensureRoles(transaction)
    const { pending, newer } = compareSchema(Object.keys(known), await readExecuted(transaction))
    if (pending.length > 0) await runMigrations(transaction, known, newer)
    await showState(transaction)
    return { ran: pending, newer }
  })
}

async function takeTurn (db: Kysely<unknown>, { turnMs }: MigrationLimits): Promise<void> {
  await sql`set local lock_timeout = ${sql.lit(turnMs)}`.execute(db)
  try {
    await sql`select pg_advisory_xact_lock(${sql.lit(lockKey)})`.execute(db)
  } catch (error) {
    if (!waitedForALock(error)) throw error
    // Without the cause: it is not tried again, as it would be for a table's lock.
    throw new ThreadlineError('THREADLINE_MIGRATION_FAILED', `Another process has been migrating this database for more than ${turnMs} ms`)
  }
}

async function runMigrations (db: Kysely<unknown>, known: Readonly<Record<string, Migration>>, newer: readonly string[]): Promise<void> {
  // Kysely refuses a migration that has been run and is not known to it.
  const foreign = Object.fromEntries(newer.map((name) => [name, { up: async () => { /* has been run */ } }]))
  const migrator = new Migrator({
    db,
    provider: { getMigrations: async () => ({ ...known, ...foreign }) },
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

/** So that a process whose login may only take the roles can see whether the database is ready for it. */
async function showState (db: Kysely<unknown>): Promise<void> {
  await sql`
    do $$
    begin
      if not has_table_privilege('threadline_system', 'threadline.kysely_migration', 'select') then
        grant select on threadline.kysely_migration to threadline_system;
      end if;
    end $$`.execute(db)
}

const lockStates = ['55P03', '40P01']

/** Whether somebody else's lock was in the way, so that the same may succeed later. */
function waitedForALock (error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof pg.DatabaseError) return lockStates.includes(cause.code ?? '')
  }
  return false
}

function blockedError (error: unknown, { attempts, lockMs }: MigrationLimits): ThreadlineError {
  const what = isThreadlineError(error) ? error.message : 'The database could not be prepared'
  const why = `a transaction of another process held a lock that it needs, ${attempts} times for more than ${lockMs} ms`
  return new ThreadlineError('THREADLINE_MIGRATION_FAILED', `${what}: ${why}. Nothing was changed: end that transaction, or try again later`, { cause: error })
}

function migrationError (error: unknown): unknown {
  if (isThreadlineError(error)) return error
  const known = toConnectionError(error)
  if (isThreadlineError(known, 'THREADLINE_STORAGE_UNAVAILABLE') || isThreadlineError(known, 'THREADLINE_INVALID_CONFIGURATION')) return known
  return new ThreadlineError('THREADLINE_MIGRATION_FAILED', 'The database could not be prepared', { cause: error })
}
