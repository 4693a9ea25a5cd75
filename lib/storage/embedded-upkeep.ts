import pg from 'pg'

const largeBytes = 1024 * 1024

/**
 * What autovacuum does on a server, done at each start of the embedded database, which has none. Small tables are left alone: the
 * planner takes a table without statistics for a larger one and uses its indexes, and with those plans the functions of the
 * session live on when the table has grown. Room that purged rows have left is used again.
 */
export async function keepUp (pool: pg.Pool): Promise<void> {
  const { rows } = await pool.query<{ relname: string }>(`
    select relname from pg_class
    where relnamespace = 'threadline'::regnamespace and relkind = 'r' and pg_relation_size(oid) > ${largeBytes}`)
  for (const { relname } of rows) {
    await pool.query(`vacuum (analyze) threadline.${pg.escapeIdentifier(relname)}`)
  }
}
