import type pg from 'pg'
import { isThreadlineError } from '../../../lib/errors.ts'
import { requireFiles, toConnectionError } from '../../../lib/storage/server-trust.ts'
import { findingsOf, type Finding } from '../finding.ts'
import { placeOf, reasonOf } from '../reason-of.ts'
import type { Database } from './database.ts'

const { ok, warning, failed } = findingsOf('Postgres')
const oldestVersion = 150_000

interface Row extends pg.QueryResultRow {
  readonly version: string
  readonly number: number
  readonly login: string
  readonly encoding: string
  readonly standby: boolean
  readonly readonly: string
}

/** Whether the server is there, of a version that is known to work, and one that can be written to. */
export async function reachPostgres ({ url, pool }: Database): Promise<readonly Finding[]> {
  try {
    requireFiles(url)
    const { rows: [row] } = await pool.query<Row>(`
      select current_setting('server_version') as version, current_setting('server_version_num')::integer as number, current_user::text as login,
        current_setting('server_encoding') as encoding, pg_is_in_recovery() as standby, current_setting('transaction_read_only') as readonly`)
    if (row === undefined) throw new Error('The server has answered with nothing')
    const ms = Math.round(await wayThere(pool))
    const reached = `${row.version} at ${placeOf(url)} answers the login ${row.login} in ${ms} ms`
    if (row.number < oldestVersion) return [failed(reached, 'Use Postgres 15 or newer: the policies and functions need it')]
    if (row.standby || row.readonly === 'on') return [failed(`${reached}, and cannot be written to`, 'Name the primary server in DATABASE_URL')]
    if (row.encoding !== 'UTF8') return [failed(`${reached}, with the encoding ${row.encoding}`, 'Make the database with encoding UTF8: messages are in all languages')]
    return [ms > 100 ? warning(`${reached}, which is far away`, 'Put servers and database into one region: every message waits for it several times') : ok(reached)]
  } catch (error) {
    return [failed(`${placeOf(url)} cannot be used: ${reasonOf(explained(error))}`, 'Check address, login and password in DATABASE_URL, and that the server lets this machine in')]
  }
}

/** A server that is not trusted says what to do; any other error says best itself what it is. */
function explained (error: unknown): unknown {
  const known = toConnectionError(error)
  return isThreadlineError(known, 'THREADLINE_INVALID_CONFIGURATION') ? known : error
}

/** In ms, of several questions the fastest: one may meet a machine that is busy with something else. The connection is open. */
async function wayThere (pool: pg.Pool): Promise<number> {
  let fastest = Infinity
  for (let asked = 0; asked < 5; asked++) {
    const startedAt = performance.now()
    await pool.query('select 1')
    fastest = Math.min(fastest, performance.now() - startedAt)
  }
  return fastest
}
