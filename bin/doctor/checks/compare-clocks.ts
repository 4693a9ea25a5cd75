import { findingsOf, type Finding } from '../finding.ts'
import type { Database } from './database.ts'

/** In ms since 1970. */
export type Now = () => number

const warningMs = 1_000
const failedMs = 5_000

/** What the clock of somebody else shows, compared with ours in the middle of the asking; so the way there does not count. */
export async function compareClock (whose: string, now: Now, ask: () => Promise<number>): Promise<Finding> {
  const { ok, warning, failed } = findingsOf('Clocks')
  const before = now()
  const theirs = await ask()
  const after = now()
  const differenceMs = theirs - (before + after) / 2
  // Not less than what the way there may hide.
  const certainMs = Math.max(0, Math.abs(differenceMs) - (after - before) / 2)
  const message = `of ${whose} is ${Math.round(Math.abs(differenceMs))} ms ${differenceMs < 0 ? 'behind' : 'ahead of'} this machine's`
  const advice = 'Let NTP or chrony keep both: tokens, signatures and leases are good for a time'
  if (certainMs > failedMs) return failed(message, advice)
  return certainMs > warningMs ? warning(message, advice) : ok(message)
}

export async function compareDatabaseClock ({ pool }: Database, now: Now): Promise<readonly Finding[]> {
  // The first question may have to open a connection.
  await pool.query('select 1')
  return [await compareClock('Postgres', now, async () => {
    const { rows: [row] } = await pool.query<{ ms: string }>('select extract(epoch from clock_timestamp()) * 1000 as ms')
    return Number(row?.ms)
  })]
}
