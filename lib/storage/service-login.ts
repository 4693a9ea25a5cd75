import { Kysely, PostgresDialect, sql } from 'kysely'
import pg from 'pg'
import { isThreadlineError, ThreadlineError } from '../errors.ts'
import { toScramVerifier } from './scram-verifier.ts'
import { toStorageError } from './storage-error.ts'

export interface ServiceLogin {
  readonly name: string
  /** Of printable ASCII, at least 16 characters. Without one the login keeps what it has. */
  readonly password?: string | undefined
}

/**
 * Makes the login that servers use, or brings it to what it should be: it owns nothing, has no attribute, inherits nothing, and may take the
 * two roles of the units of work. Answers whether it was made. Throws `THREADLINE_MIGRATION_FAILED` for a login that is more than that, and
 * when it may not be made.
 */
export async function ensureServiceLogin (pool: pg.Pool, { name, password }: ServiceLogin): Promise<'made' | 'updated'> {
  checkWords(name, password)
  const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) })
  try {
    return await db.transaction().execute(async (transaction) => {
      // Two that make the same login wait for each other.
      await sql`set local lock_timeout = 30000`.execute(transaction)
      await sql`select pg_advisory_xact_lock(hashtextextended(${name}, 7310589))`.execute(transaction)
      const known = await readLogin(transaction, name)
      if (known === undefined && password === undefined) throw failed(`There is no login ${name} yet, so it needs a password`)
      await (known === undefined ? make(transaction, name) : correct(transaction, name, known))
      if (password !== undefined) await setPassword(transaction, name, password)
      await letTakeRoles(transaction, name)
      return known === undefined ? 'made' : 'updated'
    })
  } catch (error) {
    if (isThreadlineError(error)) throw error
    const storageError = toStorageError(error)
    if (isThreadlineError(storageError, 'THREADLINE_STORAGE_UNAVAILABLE')) throw storageError
    throw failed(`The login ${name} could not be made${error instanceof pg.DatabaseError ? `: ${error.message}` : ''}`, error)
  }
}

function checkWords (name: string, password: string | undefined): void {
  if (!/^[a-z_][a-z0-9_]{0,62}$/.test(name) || /^(pg_|threadline_(app|system)$)/.test(name)) {
    throw failed('The name of a login has small letters, digits and underscores, and is none of the roles that it takes')
  }
  if (password !== undefined && !/^[!-~]{16,256}$/.test(password)) {
    throw failed('The password of a login has from 16 to 256 printable ASCII characters and no blanks')
  }
}

interface KnownLogin {
  readonly rolcreaterole: boolean
  readonly rolcreatedb: boolean
  readonly rolcanlogin: boolean
  readonly rolinherit: boolean
  readonly powerful: boolean
  readonly owns: boolean
  readonly memberships: readonly string[]
}

async function readLogin (db: Kysely<unknown>, name: string): Promise<KnownLogin | undefined> {
  const { rows: [row] } = await sql<KnownLogin>`
    select rolcreaterole, rolcreatedb, rolcanlogin, rolinherit, (rolsuper or rolbypassrls or rolreplication) as powerful,
      exists (select 1 from pg_shdepend where refclassid = 'pg_authid'::regclass and refobjid = r.oid and deptype = 'o') as owns,
      array(
        select g.rolname::text from pg_auth_members m join pg_roles g on g.oid = m.roleid
          where m.member = r.oid and g.rolname not in ('threadline_app', 'threadline_system')
      ) as memberships
      from pg_roles r where rolname = ${name}`.execute(db)
  return row
}

async function make (db: Kysely<unknown>, name: string): Promise<void> {
  await sql`create role ${sql.id(name)} login noinherit nocreatedb nocreaterole`.execute(db)
}

/** What a harmless attribute can be taken from is corrected; what somebody else may need is left and refused. */
async function correct (db: Kysely<unknown>, name: string, login: KnownLogin): Promise<void> {
  if (login.powerful) throw failed(`The login ${name} is a superuser, gets around row-level security or replicates: give another name`)
  if (login.owns) throw failed(`The login ${name} owns something in this cluster: give another name`)
  if (login.memberships.length > 0) throw failed(`The login ${name} is a member of ${login.memberships.join(', ')}: give another name`)
  // Each only where it is not so: to name an attribute already takes the right to give it.
  if (!login.rolcanlogin) await sql`alter role ${sql.id(name)} login`.execute(db)
  if (login.rolinherit) await sql`alter role ${sql.id(name)} noinherit`.execute(db)
  if (login.rolcreaterole) await sql`alter role ${sql.id(name)} nocreaterole`.execute(db)
  if (login.rolcreatedb) await sql`alter role ${sql.id(name)} nocreatedb`.execute(db)
}

async function setPassword (db: Kysely<unknown>, name: string, password: string): Promise<void> {
  await sql`alter role ${sql.id(name)} password ${sql.lit(toScramVerifier(password))}`.execute(db)
}

// Before 16 it is the member that inherits or does not, and whoever may make roles may give them. Since then each membership says it, and only
// who made a role, or was given it with this option, may give it to others.
async function letTakeRoles (db: Kysely<unknown>, name: string): Promise<void> {
  const { rows: [row] } = await sql<{ version: number }>`select current_setting('server_version_num')::integer as version`.execute(db)
  const options = (row?.version ?? 0) < 160_000 ? sql`` : sql`with inherit false, set true`
  for (const role of ['threadline_app', 'threadline_system']) {
    await sql`grant ${sql.id(role)} to ${sql.id(name)} ${options}`.execute(db)
  }
  await sql`
    do $$
    begin
      if not has_database_privilege(${sql.lit(name)}, current_database(), 'connect') then
        execute format('grant connect on database %I to %I', current_database(), ${sql.lit(name)});
      end if;
    end $$`.execute(db)
}

function failed (message: string, cause?: unknown): ThreadlineError {
  return new ThreadlineError('THREADLINE_MIGRATION_FAILED', message, cause === undefined ? {} : { cause })
}
