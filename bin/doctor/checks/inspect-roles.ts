import type pg from 'pg'
import { findingsOf, type Finding } from '../finding.ts'
import type { Database } from './database.ts'

const { ok, warning, failed } = findingsOf('Roles')

interface RoleRow extends pg.QueryResultRow {
  readonly name: string
  readonly bypasses: boolean
  readonly login: boolean
  readonly taken: boolean
}

interface LoginRow extends pg.QueryResultRow {
  readonly name: string
  readonly bypasses: boolean
  readonly makes_roles: boolean
  readonly owns: boolean
}

/** Whether nobody gets around row-level security: neither the roles that are taken nor, if it can be helped, the login. */
export async function inspectRoles ({ pool }: Database): Promise<readonly Finding[]> {
  const { rows: roles } = await pool.query<RoleRow>(`
    select wanted.name, coalesce(rolsuper or rolbypassrls, false) as bypasses, coalesce(rolcanlogin, false) as login,
      coalesce(pg_has_role(current_user, r.oid, case when current_setting('server_version_num')::integer < 160000 then 'member' else 'set' end), false) as taken
      from (values ('threadline_app'), ('threadline_system')) wanted (name) left join pg_roles r on r.rolname = wanted.name`)
  const { rows: [login] } = await pool.query<LoginRow>(`
    select rolname::text as name, rolsuper or rolbypassrls as bypasses, rolcreaterole or rolcreatedb as makes_roles,
      exists (select 1 from pg_shdepend where refclassid = 'pg_authid'::regclass and refobjid = r.oid and deptype = 'o') as owns
      from pg_roles r where rolname = current_user`)
  const found = [...roles.flatMap(judgeRole), ...login === undefined ? [] : judgeLogin(login)]
  return found.length > 0 ? found : [ok(`${login?.name ?? 'the login'} owns nothing, and may take threadline_app and threadline_system`)]
}

function judgeRole ({ name, bypasses, login, taken }: RoleRow): readonly Finding[] {
  if (!taken) return [failed(`the login may not take ${name}`, 'Run `threadline migrate` with the login that owns the database, and `--service-login` with the name of this one')]
  if (bypasses) return [failed(`${name} gets around row-level security`, `As a superuser: alter role ${name} nosuperuser nobypassrls`)]
  return login ? [warning(`${name} can log in`, `alter role ${name} nologin`)] : []
}

function judgeLogin ({ name, bypasses, makes_roles: makesRoles, owns }: LoginRow): readonly Finding[] {
  const advice = 'Let `threadline migrate --service-login threadline_service` make a login for the servers, and name that one in their DATABASE_URL'
  if (bypasses) return [failed(`the login ${name} is a superuser or gets around row-level security`, advice)]
  if (owns || makesRoles) return [warning(`the login ${name} owns the schema or may make roles, which only migrations need`, advice)]
  return []
}
