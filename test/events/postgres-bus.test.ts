import pg from 'pg'
import t, { type Test } from 'tap'
import { createPostgresBus } from '../../lib/events/postgres-bus.ts'
import { createSilentLogger } from '../support/silent-logger.ts'
import { createThrowawayDatabase } from '../support/throwaway-database.ts'
import { cutIntoNotifications } from '../../lib/events/notification-parts.ts'
import { holdBusContract, type BusStage } from './bus-contract.ts'

const skip = process.env['TEST_DATABASE_URL'] === undefined ? 'needs TEST_DATABASE_URL' : false

t.test('a bus over Postgres', { skip }, async (t) => {
  holdBusContract(t, openStage)
})

async function openStage (t: Test): Promise<BusStage> {
  const database = await createThrowawayDatabase()
  if (database === undefined) throw new Error('TEST_DATABASE_URL is not set')
  const watcher = new pg.Client({ connectionString: database.url })
  await watcher.connect()
  t.teardown(async () => {
    await watcher.end()
    await database.drop()
  })
  let texts = 0
  return {
    open: (node, signer) => createPostgresBus({ node, signer, logger: createSilentLogger(), url: database.url }),
    async say (_topic, text) {
      texts += 1
      for (const payload of cutIntoNotifications(text, `somebody.${texts}`)) await watcher.query('select pg_notify($1, $2)', ['threadline_bus', payload])
    },
    async interrupt () { await watcher.query("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name like 'threadline bus%'") },
    withoutEvents: true
  }
}
