import { sql } from 'kysely'
import type { DatabaseProtection } from '../protocol/run-isolation.ts'
import { onlyRow } from './thread-view.ts'
import type { UnitsOfWork } from './unit-of-work.ts'

/** Asked in the very kind of unit in which every other row is read. Of the tables the least protected one counts. */
export async function readProtection (units: UnitsOfWork): Promise<DatabaseProtection> {
  return await units.asUser(async (unit) => onlyRow(await unit.lastRows(sql<DatabaseProtection>`
    select current_user::text as role, nullif(current_setting('threadline.user_id', true), '') as user_id,
      (select rolsuper or rolbypassrls from pg_roles where rolname = current_user) as bypasses_row_security,
      (select case when bool_and(relrowsecurity and relforcerowsecurity) then 'forced' when bool_and(relrowsecurity) then 'enabled' else 'off' end
        from pg_class where relnamespace = 'threadline'::regnamespace and relkind in ('r', 'p') and relname not like 'kysely%') as row_security`)))
}
