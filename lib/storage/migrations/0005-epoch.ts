import { sql, type Kysely } from 'kysely'

/**
 * The epoch of this database: a random name given when it is made, together with what Postgres changes when it is restored
 * elsewhere, recreated, or promoted after a failover. Sequences of another epoch do not compare.
 */
export async function up (db: Kysely<unknown>): Promise<void> {
  const { rows } = await sql<{ name: string }>`select gen_random_uuid()::text as name`.execute(db)
  await sql`
    create function threadline.epoch() returns text language sql stable as ${sql.lit(`
      select md5(concat_ws(' ', '${rows[0]?.name}',
        (select system_identifier from pg_control_system()),
        (select timeline_id from pg_control_checkpoint()),
        (select oid from pg_database where datname = current_database())))`)}`.execute(db)
  await sql`revoke all on function threadline.epoch from public`.execute(db)
  await sql`grant execute on function threadline.epoch to threadline_system`.execute(db)
}
