import { findingsOf, type Finding } from '../finding.ts'
import type { Database } from './database.ts'

const { ok, failed } = findingsOf('Row security')

/** Whether it is forced on each table of the service, so that it also holds for their owner. */
export async function inspectRowSecurity ({ pool }: Database): Promise<readonly Finding[]> {
  const { rows } = await pool.query<{ name: string, forced: boolean }>(`
    select relname::text as name, relrowsecurity and relforcerowsecurity as forced from pg_class
      where relnamespace = to_regnamespace('threadline') and relkind in ('r', 'p') and relname not like 'kysely%' order by 1`)
  const open = rows.filter(({ forced }) => !forced).map(({ name }) => name)
  if (rows.length === 0) return [failed('there are no tables', 'Run `threadline migrate`')]
  if (open.length === 0) return [ok(`is forced on all ${rows.length} tables`)]
  const statements = open.map((name) => `alter table threadline.${name} enable row level security, force row level security`)
  return [failed(`is not forced on ${open.join(', ')}`, `As the owner: ${statements.join('; ')}. Then find out who has changed it`)]
}
