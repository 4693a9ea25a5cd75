import type pg from 'pg'

/** A table into which users' rows are put, with what is needed to put one there and to try to change it. */
export interface TriedTable {
  readonly name: string
  /** Columns that need a value, with their types. */
  readonly required: readonly { readonly name: string, readonly type: string }[]
  /** A column that may be changed. */
  readonly changeable: string | null
  readonly readable: boolean
  readonly removable: boolean
}

/** Those of the service's tables into which its users' role may put rows, threads first: the others refer to them. */
export async function findTriedTables (client: pg.ClientBase): Promise<readonly TriedTable[]> {
  const { rows } = await client.query<TriedTable>(`
    select c.relname::text as name,
      coalesce((
        select json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, null)) order by a.attnum) from pg_attribute a
          where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attidentity = '' and a.attgenerated = ''
            and (a.attname in ('user_id', 'thread_id') or (a.attnotnull and not a.atthasdef))
      ), '[]') as required,
      (
        select a.attname::text from pg_attribute a
          where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and has_column_privilege('threadline_app', c.oid, a.attnum, 'update')
          order by a.attnum limit 1
      ) as changeable,
      has_column_privilege('threadline_app', c.oid, 'user_id', 'select') as readable,
      has_table_privilege('threadline_app', c.oid, 'delete') as removable
      from pg_class c
      where c.relnamespace = 'threadline'::regnamespace and c.relkind in ('r', 'p') and c.relname not like 'kysely%'
        and has_table_privilege('threadline_app', c.oid, 'insert')
        and exists (select 1 from pg_attribute a where a.attrelid = c.oid and a.attname = 'user_id')
      order by c.relname <> 'threads', c.relname`)
  return rows
}

/** By column where a rule of the table wants a certain word, else by type. */
const values: Readonly<Record<string, string>> = {
  role: "'user'",
  run_id: "'run_' || $2::uuid || '_' || gen_random_uuid()",
  uuid: 'gen_random_uuid()',
  text: "'doctor'",
  integer: '1',
  bigint: '1',
  boolean: 'false',
  json: "'{}'",
  jsonb: "'{}'",
  bytea: "''",
  'timestamp with time zone': 'now()'
}

/** Puts a row of `user` into a table. `$1` is the user, `$2` the thread. */
export function toInsert ({ name, required }: TriedTable): string {
  const columns = required.map((column) => `"${column.name}"`)
  const given = required.map((column) => column.name === 'user_id' ? '$1::text' : column.name === 'thread_id' ? '$2::uuid' : values[column.name] ?? values[column.type] ?? 'default')
  return `with given as (select $1::text, $2::uuid) insert into threadline."${name}" (${columns.join(', ')}) values (${given.join(', ')})`
}
