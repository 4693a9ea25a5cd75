import pg from 'pg'

const largeBytes = 1024 * 1024
const growing = ['messages', 'run_events']

/**
 * What autovacuum does on a server, done at each start of the embedded database, which has none. Small tables are left alone: the
 * planner takes a table without statistics for a larger one and uses its indexes, and with those plans the functions of the
 * session live on when the table has grown. Tables that only grow need statistics and no vacuum.
 */
export async function keepUp (pool: pg.Pool): Promise<void> {
  const { rows } = await pool.query<{ relname: string }>(`
    select relname from pg_class
    where relnamespace = 'threadline'::regnamespace and relkind = 'r' and pg_relation_size(oid) > ${largeBytes}`)
  for (const { relname } of rows) {
    const table = `threadline.${pg.escapeIdentifier(relname)}`
    await pool.query(growing.includes(relname) ? `analyze ${table}` : `vacuum (analyze) ${table}`)
  }
}
