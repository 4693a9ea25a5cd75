import { Kysely, PostgresDialect, sql } from 'kysely'
import pg from 'pg'
import { ThreadlineError } from '../errors.ts'
import { toConnectionError } from './server-trust.ts'
import { toStorageError } from './storage-error.ts'

/** Which migrations a database has had, compared with those that this version knows. */
export interface SchemaState {
  /** Known and not there yet, in their order. */
  readonly pending: readonly string[]
  /** There and not known: a newer version has been here. What it adds, this version can work beside. */
  readonly newer: readonly string[]
}

export function compareSchema (known: readonly string[], executed: readonly string[]): SchemaState {
  return {
    pending: known.filter((name) => !executed.includes(name)).toSorted(),
    newer: executed.filter((name) => !known.includes(name)).toSorted()
  }
}

/** The migrations that the database has had, read as the active role; none when it has never had one. */
export async function readExecuted (db: Kysely<unknown>): Promise<readonly string[]> {
  const { rows: [table] } = await sql<{ present: boolean }>`
    select exists (
      select 1 from pg_class where relnamespace = to_regnamespace('threadline') and relname = 'kysely_migration'
    ) as present`.execute(db)
  if (table?.present !== true) return []
  const { rows } = await sql<{ name: string }>`select name from threadline.kysely_migration order by name`.execute(db)
  return rows.map(({ name }) => name)
}

/**
 * Whether the login may bring the schema up itself: it owns it, or there is none and it may make one. It is the first thing that is asked: throws
 * `THREADLINE_INVALID_CONFIGURATION` for a server that is not trusted.
 */
export async function mayMigrate (pool: pg.Pool): Promise<boolean> {
  try {
    const { rows: [row] } = await pool.query<{ may: boolean }>(`
      select coalesce(
        (select pg_has_role(current_user, nspowner, 'usage') from pg_namespace where nspname = 'threadline'),
        has_database_privilege(current_database(), 'create')) as may`)
    return row?.may === true
  } catch (error) {
    throw toConnectionError(error)
  }
}

/**
 * The state of the schema, as a login reads it that may only take the roles. Throws `THREADLINE_MIGRATION_FAILED` when it cannot be
 * read: the database is not prepared, or not for this login.
 */
export async function readSchemaState (pool: pg.Pool, known: readonly string[]): Promise<SchemaState> {
  const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) })
  try {
    return await db.transaction().execute(async (transaction) => {
      await sql`set local role threadline_system`.execute(transaction)
      return compareSchema(known, await readExecuted(transaction))
    })
  } catch (error) {
    throw isNotPrepared(error)
      ? new ThreadlineError('THREADLINE_MIGRATION_FAILED', 'The database is not prepared for this login: run `threadline migrate` with the login that owns it', { cause: error })
      : toStorageError(error)
  }
}

/**
 * What a process does that may not migrate: nothing, when the database has all that this version needs. Throws
 * `THREADLINE_MIGRATION_FAILED` that says what to run when it does not.
 */
export async function requireSchema (pool: pg.Pool, known: readonly string[]): Promise<SchemaState> {
  const state = await readSchemaState(pool, known)
  if (state.pending.length === 0) return state
  throw new ThreadlineError(
    'THREADLINE_MIGRATION_FAILED',
    `The database lacks ${state.pending.join(', ')}, and this login may not migrate it: run \`threadline migrate\` with the login that owns it`
  )
}

// No such role, no right to it or to the table, no such table or schema. Source: PostgreSQL 18, appendix A.
const notPrepared = ['22023', '42704', '42501', '42P01', '3F000']

function isNotPrepared (error: unknown): boolean {
  return error instanceof pg.DatabaseError && notPrepared.includes(error.code ?? '')
}
