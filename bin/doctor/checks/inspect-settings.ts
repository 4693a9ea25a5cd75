import type pg from 'pg'
import { findingsOf, type Finding } from '../finding.ts'
import type { Database } from './database.ts'

const { ok, warning, failed } = findingsOf('Settings')

/** Beside those of the pool, each process has a connection that listens, one that notifies and one that renews leases. */
const besidePool = 3
const wantedProcesses = 4

interface Row extends pg.QueryResultRow {
  readonly connections: number
  readonly login_limit: number
  readonly durable: boolean
  readonly lost_on_crash: boolean
}

/** Whether the server keeps what it has promised to keep, and has room for the connections of several processes. */
export async function inspectSettings ({ pool }: Database, poolSize: number): Promise<readonly Finding[]> {
  const { rows: [row] } = await pool.query<Row>(`
    select current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
        - coalesce(current_setting('reserved_connections', true), '0')::integer as connections,
      (select rolconnlimit from pg_roles where rolname = current_user) as login_limit,
      current_setting('fsync') = 'on' and current_setting('full_page_writes') = 'on' as durable,
      current_setting('synchronous_commit') = 'off' as lost_on_crash`)
  if (row === undefined) return []
  return [...judgeConnections(row, poolSize + besidePool), ...judgeDurability(row)]
}

function judgeConnections ({ connections, login_limit: limit }: Row, perProcess: number): readonly Finding[] {
  const room = limit === -1 ? connections : Math.min(connections, limit)
  const processes = Math.floor(room / perProcess)
  const message = `there is room for ${processes} processes of ${perProcess} connections each`
  const advice = 'Raise max_connections, lower DATABASE_POOL_SIZE, or put a pooler between'
  if (processes < 1) return [failed(message, advice)]
  return [processes < wantedProcesses ? warning(message, advice) : ok(message)]
}

function judgeDurability ({ durable, lost_on_crash: lostOnCrash }: Row): readonly Finding[] {
  if (!durable) return [failed('fsync or full_page_writes is off: a power cut destroys the database', 'Switch both on')]
  if (lostOnCrash) return [warning('synchronous_commit is off: a crash loses messages that were accepted', 'Switch it on for this database')]
  return []
}
