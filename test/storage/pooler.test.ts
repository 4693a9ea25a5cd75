import t from 'tap'
import { runDoctor } from '../../bin/doctor/run-doctor.ts'
import { migrate } from '../../lib/storage/migrate.ts'
import { createStorage } from '../../lib/storage/open-storage.ts'
import { openPool } from '../../lib/storage/connection-pool.ts'
import { noPooler, startPooler } from '../support/pooler.ts'
import { ownDatabase, serviceUrl } from '../support/service-login.ts'
import { startServer } from '../support/start-server.ts'
import { as, completionOf, deltaOf, messageOf, newcomer, runningRun } from '../support/storage-databases.ts'

const needsPooler = { skip: noPooler }

// kill: set role or user for the session in `opening` of lib/storage/unit-of-work.ts (no `local`).
t.test('two users share few connections of a pooler, and no identity stays on one', needsPooler, async (t) => {
  const database = await ownDatabase(t)
  const url = await startPooler(t, await serviceUrl(t, database), { poolSize: 2 })
  const storage = await createStorage({ databaseUrl: url, poolSize: 8 })
  t.teardown(async () => { await storage.close() })
  const users = [newcomer('alice'), newcomer('bob')]

  const rounds = await Promise.all(Array.from({ length: 40 }, async (_item, round) => {
    const user = users[round % 2] ?? newcomer()
    const message = messageOf({ content: `${user.userId} ${round}` })
    await as(user, async () => await storage.runs.accept(message))
    const { messages } = await as(user, async () => await storage.messages.history(message.threadId, { limit: 5 }))
    const other = users[(round + 1) % 2] ?? newcomer()
    const crossed = await as(other, async () => await storage.messages.history(message.threadId, { limit: 5 })).then(() => 'found', (error: unknown) => (error as { code?: string }).code)
    return { right: messages.length === 1 && messages[0]?.content === message.content, crossed }
  }))
  const runs = await Promise.all(users.map(async (user) => await runningRun(storage, user)))
  await Promise.all(runs.map(async (run) => await storage.events.append([deltaOf(run), completionOf(run)])))

  t.ok(rounds.every(({ right }) => right))
  t.same(new Set(rounds.map(({ crossed }) => crossed)), new Set(['THREADLINE_THREAD_NOT_FOUND']))
  const pool = openPool({ url, size: 8 }, undefined)
  t.teardown(async () => { await pool.end() })
  const left = await Promise.all(Array.from({ length: 16 }, async () => (await pool.query(`
    select coalesce(current_setting('threadline.user_id', true), '') as user_id, current_user = session_user as plain,
      current_setting('statement_timeout') as statement_timeout, current_setting('lock_timeout') as lock_timeout`)).rows[0]))
  for (const row of left) t.same(row, { user_id: '', plain: true, statement_timeout: '0', lock_timeout: '0' })
})

t.test('a database is migrated through a pooler, once, by two at the same time', needsPooler, async (t) => {
  const database = await ownDatabase(t)
  const url = await startPooler(t, database.url, { poolSize: 2 })
  const pool = openPool({ url, size: 3 }, undefined)
  t.teardown(async () => { await pool.end() })

  const [one, other] = await Promise.all([migrate(pool), migrate(pool)])

  t.ok(one.ran.length + other.ran.length > 10)
  t.equal(Math.min(one.ran.length, other.ran.length), 0)
})

t.test('two users chat with a server behind a pooler', needsPooler, async (t) => {
  const database = await ownDatabase(t)
  const service = await serviceUrl(t, database)
  const server = await startServer(t, { env: { DATABASE_URL: await startPooler(t, service, { poolSize: 3 }), DATABASE_POOL_SIZE: 8 } })
  const sockets = await Promise.all(['alice', 'bob'].map(async (user) => ({ user, socket: await server.connect(user) })))

  for (let round = 0; round < 3; round++) {
    await Promise.all(sockets.map(async ({ user, socket }) => {
      const completed = await socket.chat(`marker of ${user} ${round}`)

      t.match(completed, { user_id: user, payload: { status: 'completed', content: `marker of ${user} ${round}` } })
    }))
  }

  for (const [index, { socket }] of sockets.entries()) {
    const other = sockets[1 - index]?.user ?? ''
    t.notMatch(JSON.stringify(socket.events), `marker of ${other}`)
    t.match(JSON.stringify(socket.events), `marker of ${sockets[index]?.user}`)
  }
  t.same(server.violations, [])
})

t.test('the doctor tells that notifications do not come through a pooler, and how they would', needsPooler, async (t) => {
  const database = await ownDatabase(t)
  const service = await serviceUrl(t, database)
  const env = { DATABASE_URL: await startPooler(t, service, { poolSize: 3 }) }
  const examine = async (more: Readonly<Record<string, string>>) => {
    let out = ''
    const code = await runDoctor([], { ...env, ...more }, { stdout: { write: (piece) => { out += piece } }, stderr: process.stderr })
    return { code, out }
  }

  t.match(await examine({}), { code: 0, out: /▲ Notifications +do not arrive(?:.|\n)*DATABASE_LISTEN_URL/ })
  t.match(await examine({ DATABASE_LISTEN_URL: service }), { code: 0, out: /✓ Notifications +arrive after/ })
})
