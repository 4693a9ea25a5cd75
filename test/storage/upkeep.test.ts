import t from 'tap'
import { sql } from 'kysely'
import type { Identity } from '../../lib/context/identity.ts'
import { newThreadId, type ThreadId } from '../../lib/protocol/ids.ts'
import type { UnitsOfWork } from '../../lib/storage/unit-of-work.ts'
import { createUpkeep } from '../../lib/storage/upkeep.ts'
import type { RunRecord } from '../../lib/stores/run-record.ts'
import { settler } from '../support/settler.ts'
import { as, completionOf, deltaOf, lease, messageOf, newcomer, onEachDatabase, runningRun } from '../support/storage-databases.ts'

const long = 1_000
const gone = { code: 'THREADLINE_THREAD_NOT_FOUND' }
const daysAgo = (days: number): Date => new Date(Date.now() - days * 24 * 60 * 60 * 1_000)

onEachDatabase(t, async (t, { storage, units, ask, askAs }) => {
  const { threads, events, upkeep } = storage

  /** As the owner of the tables, in the name of the user: time cannot be waited for. */
  const change = async (user: Identity, text: string) => await ask(`begin; set local threadline.user_id = '${user.userId}'; ${text}; commit`)

  async function removed (user: Identity, threadId: ThreadId, days: number): Promise<void> {
    await as(user, async () => { await threads.remove(threadId) })
    await change(user, `update threadline.threads set deleted_at = now() - interval '${days} days' where thread_id = '${threadId}'`)
  }

  /** Lets the first events of a run's thread have been stored days ago. */
  async function aged (user: Identity, { threadId }: RunRecord, count: number, days: number): Promise<void> {
    await change(user, `
      update threadline.run_events set created_at = now() - interval '${days} days' where thread_id = '${threadId}' and sequence <= ${count}`)
  }

  /** How many rows of the thread each table has that names threads. */
  async function rowsOf (user: Identity, threadId: ThreadId): Promise<Readonly<Record<string, number>>> {
    const tables = await ask<{ table_name: string }>(`
      select table_name::text from information_schema.columns where table_schema = 'threadline' and column_name = 'thread_id'
        and table_name in (select tablename from pg_tables where schemaname = 'threadline')`)
    return Object.fromEntries(await Promise.all(tables.map(async ({ table_name: table }) => {
      const counting = `select count(*) as rows from threadline.${table} where thread_id = '${threadId}'`
      const [row] = await askAs<{ rows: number }>('threadline_app', user.userId, counting)
      return [table, row?.rows ?? -1] as const
    })))
  }

  // kill: no `and t.user_id = p_user_id` in `purge_thread` of lib/storage/migrations/0009-retention.ts, row-level security being off
  t.test('a deleted thread of the user can be purged at once, and no other', async (t) => {
    const { user: alice, ended, run } = await settler(storage, ask)
    const { ended: his, user: bob } = await settler(storage, ask)
    await as(alice, async () => { await threads.remove(ended.threadId) })
    await as(bob, async () => { await threads.remove(his.threadId) })
    const before = { mine: await rowsOf(alice, run.threadId), his: await rowsOf(bob, his.threadId) }

    for (const threadId of [ended.threadId, run.threadId, his.threadId, newThreadId()]) await as(alice, async () => { await threads.purge(threadId) })

    t.ok(Object.values(await rowsOf(alice, ended.threadId)).every((rows) => rows === 0))
    t.same({ mine: await rowsOf(alice, run.threadId), his: await rowsOf(bob, his.threadId) }, before)
  })

  t.test('a thread that was deleted long ago is purged from every table that names threads, and no other', async (t) => {
    // kill: leave a table out of `delete_threads` in lib/storage/migrations/0009-retention.ts
    const { user: alice, ended, run } = await settler(storage, ask)
    const { user: bob, ended: his } = await settler(storage, ask)
    const before = { others: await rowsOf(alice, run.threadId), his: await rowsOf(bob, his.threadId) }
    const all = Object.values(await rowsOf(alice, ended.threadId))
    t.ok(all.length >= 6 && all.every((rows) => rows > 0), 'a thread with a row in every table')
    await removed(alice, ended.threadId, 31)
    await removed(bob, his.threadId, 29)

    const purged = await upkeep.purge({ deletedBefore: daysAgo(30), limit: 10 })

    t.same(purged, { threads: 1, events: 0 })
    t.ok(Object.values(await rowsOf(alice, ended.threadId)).every((rows) => rows === 0))
    await t.rejects(as(alice, async () => await threads.require(ended.threadId, { deleted: true })), gone)
    await t.rejects(as(alice, async () => await threads.restore(ended.threadId)), gone)
    t.same(await rowsOf(alice, run.threadId), before.others)
    t.same(await rowsOf(bob, his.threadId), before.his)
    t.same(await upkeep.purge({ deletedBefore: daysAgo(30), limit: 10 }), { threads: 0, events: 0 })
    t.match(await as(bob, async () => await threads.restore(his.threadId)), { deleted_at: null })
  })

  t.test('threads that were deleted first are purged first, as many as asked for', async (t) => {
    const [alice, bob] = [newcomer(), newcomer()]
    const deleted: Array<readonly [Identity, ThreadId]> = []
    for (const [user, days] of [[alice, 40], [bob, 50], [alice, 60], [bob, 35]] as const) {
      const threadId = newThreadId()
      await as(user, async () => await threads.create(threadId))
      await removed(user, threadId, days)
      deleted.push([user, threadId])
    }
    const left = async () => (await Promise.all(deleted.map(async ([user, threadId]) => (await rowsOf(user, threadId))['threads'])))

    t.same(await upkeep.purge({ deletedBefore: daysAgo(30), limit: 2 }), { threads: 2, events: 0 })
    t.same(await left(), [1, 0, 0, 1])
    t.same(await upkeep.purge({ deletedBefore: daysAgo(30), limit: 3 }), { threads: 2, events: 0 })
    t.same(await left(), [0, 0, 0, 0])
  })

  t.test('a thread that is restored before its turn comes stays as it was', async (t) => {
    // kill: leave the comparison of `deleted_at` out of `purge_thread` in lib/storage/migrations/0009-retention.ts
    const { user: alice, ended } = await settler(storage, ask)
    const before = await rowsOf(alice, ended.threadId)
    await removed(alice, ended.threadId, 31)
    const restoring: UnitsOfWork = {
      ...units,
      async asOwners (work) {
        await as(alice, async () => await threads.restore(ended.threadId))
        return await units.asOwners(work)
      }
    }

    const purged = await createUpkeep(restoring).purge({ deletedBefore: daysAgo(30), limit: 10 })

    t.same(purged, { threads: 0, events: 0 })
    t.same(await rowsOf(alice, ended.threadId), before)
  })

  t.test('a thread is worked on in the name of its own user only, also without any policy', async (t) => {
    // kill: leave the comparison of `user_id` out of `purge_thread` or `expire_events` in lib/storage/migrations/0009-retention.ts
    const { user: alice, ended } = await settler(storage, ask)
    const bob = newcomer()
    await removed(alice, ended.threadId, 31)
    const before = await rowsOf(alice, ended.threadId)
    const call = async (name: string) => await units.asOwners(async (unit) => await unit.lastRows(
      sql<{ done: number }>`select done from ${sql.ref(`threadline.${name}`)}(${bob.userId}, ${ended.threadId}, now(), 1) done`))

    for (const policies of ['enable', 'disable']) {
      const switching = ['threads', 'runs', 'run_events'].map((table) => `alter table threadline.${table} ${policies} row level security`)
      await ask(switching.join(';'))
      t.same(await call('purge_thread'), [{ done: 0 }])
      t.same(await call('expire_events'), [{ done: 0 }])
    }
    for (const table of ['threads', 'runs', 'run_events']) await ask(`alter table threadline.${table} enable row level security`)

    t.same(await rowsOf(alice, ended.threadId), before)
    await as(alice, async () => await storage.account.erase())
  })

  t.test('a thread with very many events is purged in several transactions', async (t) => {
    const alice = newcomer()
    const run = await runningRun(storage, alice)
    await change(alice, `
      insert into threadline.run_events (thread_id, sequence, event_id, user_id, run_id, type, attempt, body)
        select '${run.threadId}', place, gen_random_uuid(), '${alice.userId}', '${run.runId}', 'agent_delta', 1, '{}'
        from generate_series(1, 12000) place;
      update threadline.threads set last_sequence = 12000 where thread_id = '${run.threadId}'`)
    await removed(alice, run.threadId, 31)
    let transactions = 0
    const counting: UnitsOfWork = { ...units, asOwners: async (work) => { transactions += 1; return await units.asOwners(work) } }

    const purged = await createUpkeep(counting).purge({ deletedBefore: daysAgo(30), limit: 10 })

    t.same(purged, { threads: 1, events: 0 })
    t.equal(transactions, 3)
    t.ok(Object.values(await rowsOf(alice, run.threadId)).every((rows) => rows === 0))
  })

  t.test('events that are kept no longer are taken away from the front, and readers are told', async (t) => {
    // kill: leave `kept_after` as it is, in `drop_events` (lib/storage/migrations/0009-retention.ts)
    const alice = newcomer()
    const run = await runningRun(storage, alice)
    await events.append([...Array.from({ length: 5 }, () => deltaOf(run)), completionOf(run)])
    await aged(alice, run, 4, 8)
    const read = async (after: number) => await as(alice, async () => await events.read(run.threadId, after, 10))

    t.same(await upkeep.purge({ deletedBefore: daysAgo(30), limit: 10 }), { threads: 0, events: 0 }, 'they are kept for ever')
    t.same(await upkeep.purge({ deletedBefore: daysAgo(30), eventsBefore: daysAgo(7), limit: 10 }), { threads: 0, events: 4 })

    t.match(await as(alice, async () => await threads.state(run.threadId)), { sequence: 6, keptAfter: 4 })
    for (const after of [0, 3]) t.equal(await read(after), 'expired')
    t.match(await read(4), [{ sequence: 5 }, { sequence: 6 }])
    t.same(await upkeep.purge({ deletedBefore: daysAgo(30), eventsBefore: daysAgo(7), limit: 10 }), { threads: 0, events: 0 })
    t.equal((await as(alice, async () => await storage.messages.history(run.threadId, { limit: 10 }))).messages.length, 1)
  })

  t.test('no event is taken away from between others, and sequences go on', async (t) => {
    const alice = newcomer()
    const run = await runningRun(storage, alice)
    await events.append([deltaOf(run), deltaOf(run), deltaOf(run), completionOf(run)])
    await aged(alice, run, 4, 8)
    await change(alice, `update threadline.run_events set created_at = now() where thread_id = '${run.threadId}' and sequence = 2`)

    t.same(await upkeep.purge({ deletedBefore: daysAgo(30), eventsBefore: daysAgo(7), limit: 10 }), { threads: 0, events: 1 })
    await aged(alice, run, 4, 8)
    t.same(await upkeep.purge({ deletedBefore: daysAgo(30), eventsBefore: daysAgo(7), limit: 10 }), { threads: 0, events: 3 })

    t.match(await as(alice, async () => await threads.state(run.threadId)), { sequence: 4, keptAfter: 4 })
    t.same(await as(alice, async () => await events.read(run.threadId, 4, 10)), [])
    const message = messageOf({ threadId: run.threadId })
    await as(alice, async () => await storage.runs.accept(message))
    const next = await as(alice, async () => await storage.runs.claimNext(run.threadId, lease))
    if (next === undefined) throw new Error('There was nothing to claim')
    t.same(await events.append([deltaOf(next)]), [{ sequence: 5 }])
  })

  t.test('events of a thread in which a run is unfinished are kept, and keep no other thread from its turn', async (t) => {
    // kill: leave the question for unfinished runs out of `expire_events` in lib/storage/migrations/0009-retention.ts
    const alice = newcomer()
    const [busy, idle] = [await runningRun(storage, alice), await runningRun(storage, alice)]
    await events.append([deltaOf(busy), deltaOf(busy), deltaOf(idle), completionOf(idle)])
    await aged(alice, busy, 2, 90)
    await aged(alice, idle, 2, 80)

    t.same(await upkeep.purge({ deletedBefore: daysAgo(30), eventsBefore: daysAgo(7), limit: 1 }), { threads: 0, events: 2 })

    t.match(await as(alice, async () => await threads.state(busy.threadId)), { sequence: 2, keptAfter: 0 })
    const expired = await units.asOwners(async (unit) => await unit.lastRows(
      sql<{ done: number }>`select done from threadline.expire_events(${alice.userId}, ${busy.threadId}, now(), ${long}) done`))
    t.same(expired, [{ done: 0 }])
    t.equal((await rowsOf(alice, busy.threadId))['run_events'], 2)
  })

  t.test('very many old events are taken away in several transactions', async (t) => {
    const alice = newcomer()
    const run = await runningRun(storage, alice)
    await events.append([completionOf(run)])
    await change(alice, `
      insert into threadline.run_events (thread_id, sequence, event_id, user_id, run_id, type, attempt, body)
        select '${run.threadId}', place, gen_random_uuid(), '${alice.userId}', '${run.runId}', 'agent_delta', 1, '{}'
        from generate_series(2, 12000) place;
      update threadline.threads set last_sequence = 12000 where thread_id = '${run.threadId}'`)
    await aged(alice, run, 11_999, 8)

    t.same(await upkeep.purge({ deletedBefore: daysAgo(30), eventsBefore: daysAgo(7), limit: 10 }), { threads: 0, events: 11_999 })
    t.match(await as(alice, async () => await threads.state(run.threadId)), { sequence: 12_000, keptAfter: 11_999 })
  })

  t.test('expired tickets are taken away', async (t) => {
    const alice = newcomer()
    const issue = async (hash: string, seconds: number) => await as(alice, async () => {
      await storage.tickets.issue(hash, { tokenExpiresAt: null }, new Date(Date.now() + seconds * 1_000))
    })
    await issue(`expired of ${alice.userId}`, -1)
    await issue(`valid of ${alice.userId}`, 60)

    await upkeep.purge({ deletedBefore: daysAgo(30), limit: 10 })

    const left = await askAs<{ secret_hash: string }>('threadline_system', undefined, 'select secret_hash from threadline.tickets')
    t.same(left.map(({ secret_hash: hash }) => hash).filter((hash) => hash.endsWith(alice.userId)), [`valid of ${alice.userId}`])
  })

  t.test('a purge that is aborted stops behind the thread that it is at', async (t) => {
    const alice = newcomer()
    for (const days of [40, 50, 60]) {
      const threadId = newThreadId()
      await as(alice, async () => await threads.create(threadId))
      await removed(alice, threadId, days)
    }
    const aborted = new AbortController()
    const aborting: UnitsOfWork = { ...units, asOwners: async (work) => { aborted.abort(); return await units.asOwners(work) } }

    t.same(await createUpkeep(aborting).purge({ deletedBefore: daysAgo(30), limit: 10, signal: aborted.signal }), { threads: 1, events: 0 })
    t.same(await upkeep.purge({ deletedBefore: daysAgo(30), limit: 10 }), { threads: 2, events: 0 })
  })

  t.test('two servers that purge at once count each thread once', async (t) => {
    const alice = newcomer()
    for (let index = 0; index < 10; index++) {
      const threadId = newThreadId()
      await as(alice, async () => await threads.create(threadId))
      await removed(alice, threadId, 31 + index)
    }

    const purged = await Promise.all([1, 2, 3].map(async () => await upkeep.purge({ deletedBefore: daysAgo(30), limit: 10 })))

    t.equal(purged.reduce((sum, one) => sum + one.threads, 0), 10)
  })
})
