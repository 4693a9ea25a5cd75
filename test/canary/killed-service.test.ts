import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { canaryUsers } from '../../lib/canary/canary-users.ts'
import { PgliteDatabase } from '../../lib/storage/pglite-database.ts'
import { fewerNodes } from '../support/fewer-nodes.ts'
import { startServer } from '../support/start-server.ts'
import { startService } from '../support/start-service.ts'
import { onEmbedded, type TestDatabase } from '../support/storage-databases.ts'
import { watchCanary } from '../support/watch-canary.ts'

const folder = await mkdtemp(join(tmpdir(), 'threadline-canary-'))
t.teardown(async () => { await rm(folder, { recursive: true, force: true }) })

/** The database that a service has left, while none runs. */
async function opened (t: Test, work: (database: TestDatabase) => Promise<void>): Promise<void> {
  await t.test('the database between two services', async (t) => { await work(await onEmbedded(t, new PgliteDatabase(folder, undefined))) })
}

/** How many rows each table has that names users, of both canaries. */
async function rowsOf ({ ask, askAs }: TestDatabase): Promise<Readonly<Record<string, number>>> {
  const tables = await ask<{ name: string }>(`
    select table_name::text as name from information_schema.columns where table_schema = 'threadline' and column_name = 'user_id'
      and table_name in (select tablename from pg_tables where schemaname = 'threadline')`)
  const count = async (name: string, user: string): Promise<number> => {
    const [counted] = await askAs<{ rows: number }>('threadline_app', user, `select count(user_id)::int as rows from threadline.${name}`)
    return counted?.rows ?? Number.NaN
  }
  return Object.fromEntries(await Promise.all(tables.map(async ({ name }) => [name, await count(name, canaryUsers.a) + await count(name, canaryUsers.b)] as const)))
}

// kill: no `|| Date.parse(thread.created_at) < since` in `leaveNothing` of lib/canary/round.ts
t.test('what canaries leave when the service is killed in the middle of a round goes with a later round', async (t) => {
  let left: Readonly<Record<string, number>> = {}
  while ((left['threads'] ?? 0) === 0) { // until it was not between two rounds
    const service = await startService(t, { DATA_DIR: folder, THREADLINE_CANARY: 'on', THREADLINE_CANARY_INTERVAL_MS: '1' }, { group: true })
    await service.connect('alice')
    await service.kill('SIGKILL', { whole: true })
    await opened(t, async (database) => { left = await rowsOf(database) })
  }
  await opened(t, async ({ ask }) => { // time cannot be waited for
    for (const user of Object.values(canaryUsers)) {
      await ask(`begin; set local threadline.user_id = '${user}'; update threadline.threads set created_at = now() - interval '2 minutes'; commit`)
    }
  })

  const canary = watchCanary(t)
  const server = await startServer(t, { only: fewerNodes.folder, env: { DATABASE_URL: undefined, DATA_DIR: folder, THREADLINE_CANARY: 'on', THREADLINE_CANARY_INTERVAL_MS: 3_600_000 } })
  if (canary.rounds.length === 0) await canary.next()
  await server.close()

  t.same(canary.rounds, [{ outcome: 'ok', crossings: 0 }])
  await opened(t, async (database) => {
    const rows = await rowsOf(database)
    t.ok(Object.keys(rows).length >= 6)
    t.ok(Object.values(rows).every((count) => count === 0), JSON.stringify({ left, rows }))
  })
})
