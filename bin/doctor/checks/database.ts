import type pg from 'pg'

/** What the checks of the database work with. `pool` has two connections, and limits for whatever waits. */
export interface Database {
  readonly url: string
  readonly pool: pg.Pool
}

/** Runs `work` in one transaction that is rolled back, whatever it does. */
export async function inRolledBack<T> (pool: pg.Pool, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect()
  let isBroken = false
  try {
    await client.query("begin; set local lock_timeout = '5s'; set local statement_timeout = '10s'")
    return await work(client)
  } finally {
    await client.query('rollback').catch(() => { isBroken = true })
    client.release(isBroken)
  }
}
