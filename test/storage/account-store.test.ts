import t from 'tap'
import { newMessageId, newThreadId } from '../../lib/protocol/ids.ts'
import { settler } from '../support/settler.ts'
import { as, completionOf, deltaOf, lease, messageOf, newcomer, onEachDatabase, runningRun } from '../support/storage-databases.ts'

onEachDatabase(t, async (t, { storage, ask, askAs }) => {
  const { account, threads, runs, events } = storage

  /** How many rows of the user each table has that names a user. */
  async function rowsOf (userId: string): Promise<Readonly<Record<string, number>>> {
    const tables = await ask<{ table_name: string }>(`
      select table_name::text from information_schema.columns where table_schema = 'threadline' and column_name = 'user_id'
        and table_name in (select tablename from pg_tables where schemaname = 'threadline') order by 1`)
    return Object.fromEntries(await Promise.all(tables.map(async ({ table_name: table }) => {
      const [row] = await askAs<{ rows: number }>('threadline_app', userId, `select count(user_id) as rows from threadline.${table}`)
      return [table, row?.rows ?? -1] as const
    })))
  }

  t.test('usage counts what is kept, and tokens by model', async (t) => {
    const alice = newcomer()
    t.same(await as(alice, async () => await account.usage()), { threads: 0, messages: 0, runs: 0, models: [] })

    const run = await runningRun(storage, alice)
    const usage = { input_tokens: 10, output_tokens: 2, model: 'large' }
    await events.append([deltaOf(run), completionOf(run, { message_id: newMessageId(), content: 'Done', usage })])
    const deleted = await runningRun(storage, alice)
    await as(alice, async () => { await threads.remove(deleted.threadId) })
    const title = { runId: run.runId, threadId: run.threadId, model: 'small' }
    await as(alice, async () => { await account.recordUsage({ ...title, inputTokens: 3, outputTokens: 1 }) })
    await as(alice, async () => { await account.recordUsage({ ...title, inputTokens: 4, outputTokens: 1 }) })

    t.same(await as(alice, async () => await account.usage()), {
      threads: 2,
      messages: 3,
      runs: 2,
      models: [{ model: 'large', inputTokens: 10, outputTokens: 2 }, { model: 'small', inputTokens: 7, outputTokens: 2 }]
    })
  })

  t.test('usage in a thread that is foreign, deleted or unknown is refused', async (t) => {
    // kill: insert the values without asking for the thread, in `recordUsage` (lib/storage/account-store.ts)
    const [alice, bob] = [newcomer(), newcomer()]
    const run = await runningRun(storage, alice)
    const usage = { runId: run.runId, threadId: run.threadId, model: 'x', inputTokens: 1, outputTokens: 1 }
    const notFound = { code: 'THREADLINE_THREAD_NOT_FOUND' }

    await t.rejects(as(bob, async () => { await account.recordUsage(usage) }), notFound)
    await t.rejects(as(alice, async () => { await account.recordUsage({ ...usage, threadId: newThreadId() }) }), notFound)
    await as(alice, async () => { await threads.remove(run.threadId) })
    await t.rejects(as(alice, async () => { await account.recordUsage(usage) }), notFound)
    t.same((await as(alice, async () => await account.usage())).models, [])
  })

  t.test('an erased user has no row in any table that names users, and others keep theirs', async (t) => {
    // kill: leave a table out of `delete_threads`, or the tickets out of `erase_user`, in lib/storage/migrations/0009-retention.ts
    const { user: alice } = await settler(storage, ask)
    const { user: bob } = await settler(storage, ask)
    const [hers, his] = [await rowsOf(alice.userId), await rowsOf(bob.userId)]
    t.ok(Object.values(hers).length >= 7 && Object.values(hers).every((rows) => rows > 0), 'somebody with a row in every table')

    const erased = await as(alice, async () => await account.erase())

    t.same(erased, { threads: hers['threads'], messages: hers['messages'], runs: hers['runs'], events: hers['run_events'] })
    t.ok(Object.values(await rowsOf(alice.userId)).every((rows) => rows === 0))
    t.same(await rowsOf(bob.userId), his)
    t.equal(await storage.tickets.redeem(`hash of ${alice.userId}`), undefined)
    t.same(await as(alice, async () => await account.erase()), { threads: 0, messages: 0, runs: 0, events: 0 })
  })

  t.test('a run that goes on after the erasure can store nothing any more', async (t) => {
    const alice = newcomer()
    const run = await runningRun(storage, alice)
    await events.append([deltaOf(run)])

    await as(alice, async () => await account.erase())

    const refused = { refused: 'thread-not-found' }
    t.same(await events.append([deltaOf(run), completionOf(run, { message_id: newMessageId(), content: 'Done' })]), [refused, refused])
    await t.rejects(as(alice, async () => await runs.accept(messageOf({ threadId: run.threadId }))), { code: 'THREADLINE_THREAD_NOT_FOUND' })
    t.equal(await as(alice, async () => await runs.claimNext(run.threadId, lease)), undefined)
    t.notOk((await runs.recoverable()).some(({ threadId }) => threadId === run.threadId))
    t.ok(Object.values(await rowsOf(alice.userId)).every((rows) => rows === 0))
  })

  t.test('an erased user can begin anew', async (t) => {
    const alice = newcomer()
    const message = messageOf({ clientId: 'm-1' })
    await as(alice, async () => await runs.accept(message))
    await as(alice, async () => await account.erase())

    const again = await as(alice, async () => await runs.accept(messageOf({ clientId: 'm-1', content: 'Something else' })))

    t.equal(again.duplicate, false)
    t.equal((await as(alice, async () => await account.usage())).threads, 1)
  })

  t.test('users who are erased while everybody writes neither wait in a circle nor leave anything behind', async (t) => {
    // kill: lock the threads of the user in no order, in `erase_user` (lib/storage/migrations/0009-retention.ts)
    for (let round = 0; round < 4; round++) {
      const users = [newcomer(), newcomer(), newcomer()]
      const running = await Promise.all(users.flatMap((user) => Array.from({ length: 6 }, async () => await runningRun(storage, user))))
      const append = async () => await events.append(running.map((run) => deltaOf(run)))
      const several = (count: number) => Promise.all(Array.from({ length: count }, append))

      const appended = await Promise.all(users.flatMap((user) => [several(4), as(user, async () => { await account.erase(); return [] }), several(4)]))

      t.ok(appended.flat(2).every((one) => 'sequence' in one || one.refused === 'thread-not-found'))
      for (const { userId } of users) t.ok(Object.values(await rowsOf(userId)).every((rows) => rows === 0))
    }
  })

  t.test('a thread that is made while its user is erased is whole, or was never there', async (t) => {
    const alice = newcomer()
    const messages = Array.from({ length: 30 }, () => messageOf())

    const [accepted] = await Promise.all([
      Promise.all(messages.map(async (message) => await as(alice, async () => await runs.accept(message)))),
      ...Array.from({ length: 5 }, async () => await as(alice, async () => await account.erase()))
    ])

    t.equal(accepted.length, 30)
    for (const { threadId, runId } of messages) {
      const found = await as(alice, async () => await Promise.allSettled([threads.require(threadId), runs.require(runId), storage.messages.history(threadId, { limit: 1 })]))
      t.equal(new Set(found.map(({ status }) => status)).size, 1)
    }
  })
})
