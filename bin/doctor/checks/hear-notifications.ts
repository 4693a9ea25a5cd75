import pg from 'pg'
import { findingsOf, type Finding } from '../finding.ts'
import { reasonOf } from '../reason-of.ts'
import { within } from '../within.ts'
import type { Database } from './database.ts'

const { ok, warning, failed } = findingsOf('Notifications')
const channel = 'threadline_doctor'
const waitMs = 2_000

/** Whether a notification arrives where servers listen. A pooler that lends its connections for a transaction takes `LISTEN` and tells nothing. */
export async function hearNotifications ({ url, pool }: Database, listenUrl: string | undefined): Promise<readonly Finding[]> {
  const client = new pg.Client({ connectionString: listenUrl ?? url, connectionTimeoutMillis: 5_000, query_timeout: 5_000, application_name: 'threadline-doctor' })
  client.on('error', () => { /* the query that is under way tells it */ })
  const word = `${process.pid}-${Math.random()}`
  try {
    await client.connect()
    const heard = new Promise<void>((resolve) => {
      client.on('notification', ({ payload }) => { if (payload === word) resolve() })
    })
    await client.query(`listen ${channel}`)
    const startedAt = performance.now()
    await pool.query('select pg_notify($1, $2)', [channel, word])
    const arrived = await within(waitMs, heard).then(() => true, () => false)
    if (arrived) return [ok(`arrive after ${Math.round(performance.now() - startedAt)} ms`)]
    return [warning(
      `do not arrive${listenUrl === undefined ? '' : ' at DATABASE_LISTEN_URL'}: it leads to a pooler that lends connections for a transaction only`,
      'Name the server itself in DATABASE_LISTEN_URL, or set REDIS_URL. Without, events reach other nodes by asking every DOUBTFUL_POLL_INTERVAL_MS'
    )]
  } catch (error) {
    return [failed(`cannot be listened to: ${reasonOf(error)}`, listenUrl === undefined ? 'Check DATABASE_URL' : 'Check DATABASE_LISTEN_URL')]
  } finally {
    await client.end().catch(() => { /* it was not connected */ })
  }
}
