import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import t, { type Test } from 'tap'
import { createSigner } from '../../lib/context/signature.ts'
import { createPostgresBus } from '../../lib/events/postgres-bus.ts'
import { noPooler, startPooler } from '../support/pooler.ts'
import { startProxy } from '../support/cluster/tcp-proxy.ts'
import { createSilentLogger } from '../support/silent-logger.ts'
import { createThrowawayDatabase } from '../support/throwaway-database.ts'
import { cutIntoNotifications } from '../../lib/events/notification-parts.ts'
import { holdBusContract, listening, proven, until, type BusStage } from './bus-contract.ts'

const skip = process.env['TEST_DATABASE_URL'] === undefined ? 'needs TEST_DATABASE_URL' : false

t.test('a bus over Postgres', { skip }, async (t) => {
  holdBusContract(t, openStage)
})

async function openStage (t: Test): Promise<BusStage & { readonly url: string }> {
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
    url: database.url,
    open: (node, signer) => createPostgresBus({ node, signer, logger: createSilentLogger(), url: database.url }),
    async say (_topic, text) {
      texts += 1
      for (const payload of cutIntoNotifications(text, `somebody.${texts}`)) await watcher.query('select pg_notify($1, $2)', ['threadline_bus', payload])
    },
    async interrupt () { await watcher.query("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name like 'threadline bus%'") },
    withoutEvents: true
  }
}

t.test('a bus that sends through a transaction pooler and listens past it', { skip: noPooler }, async (t) => {
  holdBusContract(t, async (t) => {
    const stage = await openStage(t)
    const pooled = await startPooler(t, stage.url, { poolSize: 3 })
    return { ...stage, open: (node, signer) => createPostgresBus({ node, signer, logger: createSilentLogger(), url: pooled, listenUrl: stage.url }) }
  })
})

// kill: the doubt ends when the connection stands, instead of when something was heard by it.
t.test('a bus that listens through a transaction pooler knows that it hears nothing, and what it tells is heard', { skip: noPooler }, async (t) => {
  const stage = await openStage(t)
  const pooled = await startPooler(t, stage.url, { poolSize: 3 })
  const signer = createSigner([randomBytes(32)])
  const logger = createSilentLogger()
  const one = createPostgresBus({ node: 'one', signer, logger, url: pooled, heartbeatMs: 50, overdueMs: 200, restartMs: 300 })
  const two = stage.open('two', signer)
  t.teardown(async () => { await Promise.all([one.close(), two.close()]) })
  const doubts: boolean[] = []
  one.onDoubt(() => { doubts.push(one.doubtful) })
  await proven(two)

  const heard = await listening(two, { kind: 'work' }, [one, two])
  one.publish({ kind: 'work' }, { kind: 'message', name: 'work', body: null })
  await until(() => heard.length > 0)
  await until(() => logger.lines.length > 0)
  await delay(800)

  t.equal(one.doubtful, true)
  t.same(doubts, [])
  t.match(logger.lines, [{ level: 'warn', message: /DATABASE_LISTEN_URL/ }], 'it is said once')
})

// kill: `Date.now()` instead of `performance.now()` in lib/events/postgres-bus.ts
t.test('a bus that hears nothing any more knows it, also when the clock of this machine was set back', { skip }, async (t) => {
  const stage = await openStage(t)
  const proxy = await startProxy(t, stage.url)
  const logger = createSilentLogger()
  const bus = createPostgresBus({ node: 'one', signer: createSigner([randomBytes(32)]), logger, url: proxy.url, heartbeatMs: 50, overdueMs: 200 })
  t.teardown(async () => { await bus.close() })
  await proven(bus)
  const { now } = Date
  t.teardown(() => { Date.now = now })

  Date.now = () => now() - 3_600_000
  proxy.cut()
  await until(() => bus.doubtful)

  t.ok(bus.doubtful)
})
