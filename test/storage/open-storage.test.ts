import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { sql, type Kysely } from 'kysely'
import pg from 'pg'
import t, { type Test } from 'tap'
import { createIdentity } from '../../lib/context/identity.ts'
import { newThreadId, toRunId, toThreadId, toUserId } from '../../lib/protocol/ids.ts'
import { createStorage, type StorageOptions } from '../../lib/storage/open-storage.ts'
import type { Storage } from '../../lib/stores/storage.ts'
import { as, deltaOf, lease, messageOf, newcomer, runningRun } from '../support/storage-databases.ts'
import { createThrowawayDatabase } from '../support/throwaway-database.ts'

const alice = createIdentity({ userId: toUserId('alice') })

/** Closed with the test. */
async function open (t: Test, options: StorageOptions): Promise<Storage> {
  const storage = await createStorage(options)
  t.teardown(async () => { await storage.close() })
  return storage
}

/** Another process on a data folder, and the first thing that it says. */
async function startProcess (t: Test, dataFolder: string): Promise<{ process: ChildProcess, said: Record<string, string> }> {
  const program = fileURLToPath(new URL('../support/storage-process.ts', import.meta.url))
  const child = spawn(process.execPath, [program, dataFolder], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => { child.kill('SIGKILL') })
  const [line] = await once(createInterface(child.stdout), 'line') as [string]
  return { process: child, said: JSON.parse(line) as Record<string, string> }
}

t.test('a data folder keeps everything over a restart', async (t) => {
  const dataFolder = t.testdir()
  const first = await createStorage({ dataFolder })
  const run = await runningRun(first, alice)
  await first.events.append([deltaOf(run)])
  await first.close()

  const second = await open(t, { dataFolder })

  t.equal(second.epoch, first.epoch)
  t.match(await second.runs.recoverable(), [{ runId: run.runId, userId: 'alice', attempt: 1 }])
  t.equal((await as(alice, async () => await second.events.read(run.threadId, 0, 10))).length, 1)
  t.same(await second.events.append([deltaOf(run)]), [{ sequence: 2 }])
})

t.test('a process that is killed after an acceptance loses neither message nor run', async (t) => {
  // kill: let `accept` of lib/storage/run-store.ts resolve before its transaction has been committed
  const dataFolder = t.testdir()
  const { process, said } = await startProcess(t, dataFolder)
  process.kill('SIGKILL')

  const storage = await open(t, { dataFolder })
  const threadId = toThreadId(said['threadId'])
  const runId = toRunId(said['runId'])

  t.equal(storage.epoch, said['epoch'])
  t.match(await storage.runs.recoverable(), [{ runId, threadId, status: 'queued' }])
  t.match(await as(alice, async () => await storage.messages.history(threadId, { limit: 10 })), {
    messages: [{ content: 'Hello before the crash', run_id: runId }]
  })
})

t.test('a data folder has one owner', async (t) => {
  // kill: take no lock in lib/storage/pglite-process.ts
  const dataFolder = t.testdir()
  const locked = { code: 'THREADLINE_DATA_FOLDER_LOCKED', message: new RegExp(dataFolder) }
  const first = await createStorage({ dataFolder })

  t.match((await startProcess(t, dataFolder)).said, { code: locked.code }, 'another process is refused')
  await t.rejects(createStorage({ dataFolder }), locked, 'the same process is refused')
  await t.resolves(first.ping(), 'the owner does not notice')

  await first.close()
  const { process, said } = await startProcess(t, dataFolder)
  t.ok(said['runId'], 'who comes after it has closed gets it')
  await t.rejects(createStorage({ dataFolder }), locked)
  process.kill('SIGKILL')
  await t.resolves(open(t, { dataFolder }), 'a killed owner leaves no lock')
})

t.test('what is in memory begins anew, in an epoch of its own, and ends with its storage', async (t) => {
  const [one, other] = [await open(t, {}), await open(t, {})]

  t.not(one.epoch, other.epoch)
  t.same(await other.runs.recoverable(), [])

  await one.close()
  await one.close()
  await t.rejects(one.ping(), { code: 'THREADLINE_STORAGE_UNAVAILABLE' })
  await t.rejects(as(newcomer(), async () => await one.runs.accept(messageOf())), { code: 'THREADLINE_STORAGE_UNAVAILABLE' })
  await t.resolves(other.ping())
})

t.test('a migration that fails leaves all as it was, and is named', async (t) => {
  const dataFolder = t.testdir()
  const threadId = newThreadId()
  const before = await createStorage({ dataFolder })
  await as(alice, async () => await before.threads.create(threadId, { title: 'Kept' }))
  await before.close()
  const breaking = sql`alter table threadline.threads drop column title, add column title integer not null`
  const migrations = {
    '9001-harmless': { up: async (db: Kysely<unknown>) => { await sql`create table threadline.extra (x integer)`.execute(db) } },
    '9002-broken': { up: async (db: Kysely<unknown>) => { await breaking.execute(db) } }
  }

  await t.rejects(createStorage({ dataFolder, migrations }), { code: 'THREADLINE_MIGRATION_FAILED', message: /9002-broken/ })

  // The first of the two can only be run now because it has not stayed either.
  const after = await open(t, { dataFolder, migrations: { '9001-harmless': migrations['9001-harmless'] } })
  t.equal((await as(alice, async () => await after.threads.require(threadId))).title, 'Kept')
})

t.test('a server that does not answer is told as such', async (t) => {
  const silent = createServer((socket) => { socket.destroy() }).listen(0, '127.0.0.1')
  await once(silent, 'listening')
  const address = silent.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const databaseUrl = `postgres://nobody@127.0.0.1:${port}/nowhere`

  await t.rejects(createStorage({ databaseUrl }), { code: 'THREADLINE_STORAGE_UNAVAILABLE' }, 'it hangs up')
  silent.close()
  await once(silent, 'close')
  await t.rejects(createStorage({ databaseUrl }), { code: 'THREADLINE_STORAGE_UNAVAILABLE', message: /not available: .*ECONNREFUSED.*threadline doctor/ }, 'it is not there')
})

t.test('processes that start at once on a new server database agree', { skip: process.env['TEST_DATABASE_URL'] === undefined && 'needs a server, named by TEST_DATABASE_URL' }, async (t) => {
  const database = await createThrowawayDatabase()
  t.teardown(async () => { await database?.drop() })

  const storages = await Promise.all(Array.from({ length: 4 }, async () => await open(t, { databaseUrl: database?.url, poolSize: 2 })))

  t.equal(new Set(storages.map(({ epoch }) => epoch)).size, 1)
  for (const storage of storages) await t.resolves(storage.ping())
})

t.test('leases are renewed also while everything else waits for a connection', { skip: process.env['TEST_DATABASE_URL'] === undefined && 'needs TEST_DATABASE_URL' }, async (t) => {
  // kill: `const leases = units` in createStorage of lib/storage/open-storage.ts
  const database = await createThrowawayDatabase()
  t.teardown(async () => { await database?.drop() })
  const storage = await open(t, { databaseUrl: database?.url, poolSize: 1 })
  const [run, other] = [await runningRun(storage, alice), newcomer()]
  const locking = new pg.Client({ connectionString: database?.url })
  await locking.connect()
  t.teardown(async () => { await locking.end() })
  await locking.query('begin; lock table threadline.threads')
  const waiting = as(other, async () => await storage.threads.create(newThreadId())) // has the only connection

  const renewed = await storage.queue.renew(lease, [run])

  t.match(renewed, [{ runId: run.runId, attempt: run.attempt }])
  await locking.query('rollback')
  await t.resolves(waiting)
})
