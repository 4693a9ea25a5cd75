import t, { type Test } from 'tap'
import { sql } from 'kysely'
import { enterThread } from '../../lib/context/current-thread.ts'
import type { Identity } from '../../lib/context/identity.ts'
import { newMessageId, newThreadId, type MessageId } from '../../lib/protocol/ids.ts'
import { toThreadView } from '../../lib/storage/thread-view.ts'
import type { RunRecord } from '../../lib/stores/run-record.ts'
import type { Storage } from '../../lib/stores/storage.ts'
import { as, completionOf, deltaOf, eventOf, lease, messageOf, newcomer, onEachDatabase, regenerationOf, runningRun } from '../support/storage-databases.ts'
import { watchViolations } from '../support/violations.ts'

/** What somebody else may find of a run: nothing, told like something that is not there. */
async function findsNothing (t: Test, storage: Storage, stranger: Identity, { threadId, runId, messageId, userId }: RunRecord): Promise<void> {
  const { threads, messages, runs, events, queue, account } = storage
  const noThread = { code: 'THREADLINE_THREAD_NOT_FOUND' }
  const run = { userId: stranger.userId, threadId, runId, attempt: 1 }

  await as(stranger, async () => {
    await t.rejects(threads.require(threadId), noThread, 'threads.require')
    await t.rejects(threads.require(threadId, { deleted: true }), noThread, 'threads.require')
    await t.rejects(threads.state(threadId), noThread, 'threads.state')
    await t.rejects(threads.update(threadId, { title: 'x' }), noThread, 'threads.update')
    t.equal(await threads.suggestTitle(threadId, 'x'), undefined, 'threads.suggestTitle')
    await t.rejects(threads.archive(threadId), noThread, 'threads.archive')
    await t.rejects(threads.remove(threadId), noThread, 'threads.remove')
    await t.rejects(threads.restore(threadId), noThread, 'threads.restore')
    for (const state of ['active', 'archived', 'deleted'] as const) {
      const { threads: listed, total } = await threads.list({ limit: 100, state })
      t.ok(listed.length === total && listed.every((thread) => thread.thread_id !== threadId), `threads.list of ${state} ones`)
    }
    const farthest = Buffer.from(JSON.stringify(['threads 1', [Number.MAX_SAFE_INTEGER, threadId]])).toString('base64url')
    const behind = await threads.list({ limit: 100, cursor: farthest })
    t.ok(behind.threads.every((thread) => thread.thread_id !== threadId), 'threads.list with a cursor that names it')
    t.same((await threads.search('hello', { limit: 100 })).results, [], 'threads.search')
    await t.rejects(threads.fork(threadId, newThreadId(), {}), noThread, 'threads.fork')
    await t.rejects(threads.fork(threadId, newThreadId(), { messageId }), noThread, 'threads.fork')
    await t.rejects(messages.history(threadId, { limit: 10 }), noThread, 'messages.history')
    await t.rejects(messages.history(threadId, { limit: 10, before: messageId }), noThread, 'messages.history')
    await t.rejects(messages.selectBranch(threadId, messageId), noThread, 'messages.selectBranch')
    await t.rejects(runs.accept(messageOf({ threadId })), noThread, 'runs.accept')
    await t.rejects(runs.accept(messageOf({ threadId, editOf: messageId })), noThread, 'runs.accept of an edit')
    await t.rejects(runs.regenerate(regenerationOf({ threadId })), noThread, 'runs.regenerate')
    await t.rejects(runs.regenerate(regenerationOf({ threadId, messageId })), noThread, 'runs.regenerate')
    t.same(await runs.openTools(runId), [], 'runs.openTools')
    t.equal(await runs.firstSequence(runId), undefined, 'runs.firstSequence')
    t.equal(await runs.claimNext(threadId, lease), undefined, 'runs.claimNext')
    t.equal(await queue.requestStop(runId, 'cancelled'), false, 'queue.requestStop')
    await queue.release({ runId, attempt: 1 })
    t.same(await queue.steps(runId), [], 'queue.steps')
    await t.rejects(runs.require(runId), { code: 'THREADLINE_RUN_NOT_FOUND' }, 'runs.require')
    t.same(await runs.unfinished(threadId), [], 'runs.unfinished')
    await t.rejects(runs.list(threadId, { limit: 10 }), noThread, 'runs.list')
    await t.rejects(events.read(threadId, 0, 10), noThread, 'events.read')
    await findsNoMessage(t, storage, messageId)
    const usage = { runId, threadId, model: 'x', inputTokens: 1, outputTokens: 1 }
    await t.rejects(account.recordUsage(usage), noThread, 'account.recordUsage')
    t.match(await account.usage(), { messages: 0, runs: 0, models: [] }, 'account.usage')
    t.match(await account.erase(), { messages: 0, runs: 0, events: 0 }, 'account.erase')
  })
  t.equal((await events.positions([{ userId: stranger.userId, threadId }])).size, 0, 'events.positions')
  t.same(await events.append([{ ...deltaOf(run), step: { key: 'tool:1', body: 'foreign' } }, completionOf(run)]), Array(2).fill({ refused: 'thread-not-found' }), 'events.append')
  t.ok(userId !== stranger.userId)
}

/** In a thread of the active user, a message of somebody else's thread is what does not exist. */
async function findsNoMessage (t: Test, { threads, messages, runs }: Storage, messageId: MessageId): Promise<void> {
  const noMessage = { code: 'THREADLINE_NOT_FOUND' }
  const threadId = newThreadId()
  await threads.create(threadId)
  await t.rejects(messages.history(threadId, { limit: 10, before: messageId }), noMessage, 'messages.history')
  await t.rejects(messages.selectBranch(threadId, messageId), noMessage, 'messages.selectBranch')
  await t.rejects(runs.accept(messageOf({ threadId, editOf: messageId })), noMessage, 'runs.accept')
  await t.rejects(runs.regenerate(regenerationOf({ threadId, messageId })), noMessage, 'runs.regenerate')
  await t.rejects(threads.fork(threadId, newThreadId(), { messageId }), noMessage, 'threads.fork')
}

/** A run that has begun and is at work with a tool. */
async function workingRun (storage: Storage, user: Identity): Promise<RunRecord> {
  const run = await runningRun(storage, user)
  await storage.events.append([
    eventOf(run, 'agent_started', { agent: 'assistant', message_id: run.messageId, input: run.input }),
    { ...eventOf(run, 'tool_executing', { tool_call_id: '1', tool: 'search', parameters: {} }), step: { key: 'model:/0', body: 'hers' } }
  ])
  return run
}

onEachDatabase(t, async (t, { storage, units, ask, askAs }) => {
  t.test('for every method, what belongs to another user is what does not exist', async (t) => {
    // kill: open the unit of work in the name of another user (lib/storage/unit-of-work.ts, `asUser`)
    const [alice, bob] = [newcomer(), newcomer()]
    const hers = await workingRun(storage, alice)
    await as(alice, async () => await storage.threads.create(newThreadId(), { title: 'Hello' }))
    await as(bob, async () => await storage.threads.create(newThreadId()))

    await findsNothing(t, storage, bob, hers)

    t.match(await as(alice, async () => await storage.runs.require(hers.runId)), { status: 'running', stopReason: null }, 'nothing has happened to it')
    t.same(await as(alice, async () => await storage.queue.steps(hers.runId)), [{ key: 'model:/0', body: 'hers' }])
    t.match(await storage.queue.renew(lease, [hers]), [{ runId: hers.runId }])
    t.match(await as(alice, async () => await storage.threads.state(hers.threadId)), { sequence: 2, thread: { title: null } })
  })

  t.test('the owner in each query protects by itself, without any policy', async (t) => {
    // kill: leave the comparison of `user_id` out of `anyOwnThread` or `updateAnyOwnThread` (own-thread.ts), `threadsIn` (thread-list.ts),
    // `stateOf` (thread-state.ts), `find` (thread-search.ts), `ownRuns` (run-store.ts), `firstEventOf` (run-events.ts), `recordUsage` (account-store.ts),
    // `positionsOf` (event-store.ts), `releaseOf`, `requestStop` or `steps` (queue-store.ts), `lock_thread`, append_events or erase_user (migrations)
    const [alice, bob] = [newcomer(), newcomer()]
    const hers = await workingRun(storage, alice)
    const tables = ['threads', 'runs', 'messages', 'run_events', 'run_steps', 'usage', 'approvals']
    for (const table of tables) await ask(`alter table threadline.${table} disable row level security`)
    try {
      await findsNothing(t, storage, bob, hers)
      t.match(await storage.queue.renew(lease, [hers]), [{ runId: hers.runId, stopReason: null }], 'nothing has happened to it')
    } finally {
      for (const table of tables) await ask(`alter table threadline.${table} enable row level security`)
    }
  })

  t.test('a row of another user is refused at the last step, and counted', async (t) => {
    // kill: leave the guard out of `toThreadView` in lib/storage/thread-view.ts
    const [alice, bob] = [newcomer(), newcomer()]
    const violations = watchViolations(t)
    const row = {
      thread_id: newThreadId(), user_id: alice.userId, title: null, metadata: {}, created_at: '', updated_at: '', archived_at: null, deleted_at: null
    }

    t.throws(() => as(bob, () => toThreadView(row)), { code: 'THREADLINE_CONTEXT_MISMATCH' })

    t.match(violations, [{ place: 'storage', kind: 'crossed' }])
  })

  t.test('outside of an identity no method works for a user', async (t) => {
    // kill: give `asUser` in lib/storage/unit-of-work.ts a user to fall back to
    const threadId = newThreadId()
    const { threads, messages, runs, events, queue, tickets, account } = storage
    const calls: Record<string, () => Promise<unknown>> = {
      create: async () => await threads.create(threadId),
      require: async () => await threads.require(threadId),
      state: async () => await threads.state(threadId),
      update: async () => await threads.update(threadId, { title: 'x' }),
      suggestTitle: async () => await threads.suggestTitle(threadId, 'x'),
      archive: async () => await threads.archive(threadId),
      remove: async () => { await threads.remove(threadId) },
      restore: async () => await threads.restore(threadId),
      list: async () => await threads.list({ limit: 1 }),
      search: async () => await threads.search('x', { limit: 1 }),
      searchForNothing: async () => await threads.search('-', { limit: 1 }),
      fork: async () => await threads.fork(threadId, newThreadId(), {}),
      usage: async () => await account.usage(),
      recordUsage: async () => { await account.recordUsage({ runId: messageOf().runId, threadId, model: 'x', inputTokens: 1, outputTokens: 1 }) },
      erase: async () => await account.erase(),
      history: async () => await messages.history(threadId, { limit: 1 }),
      selectBranch: async () => { await messages.selectBranch(threadId, newMessageId()) },
      accept: async () => await runs.accept(messageOf()),
      regenerate: async () => await runs.regenerate(regenerationOf({ threadId })),
      openTools: async () => await runs.openTools(messageOf().runId),
      firstSequence: async () => await runs.firstSequence(messageOf().runId),
      claimNext: async () => await runs.claimNext(threadId, lease),
      release: async () => { await queue.release({ runId: messageOf().runId, attempt: 1 }) },
      requestStop: async () => await queue.requestStop(messageOf().runId, 'cancelled'),
      steps: async () => await queue.steps(messageOf().runId),
      requireRun: async () => await runs.require(messageOf().runId),
      unfinished: async () => await runs.unfinished(threadId),
      listRuns: async () => await runs.list(threadId, { limit: 1 }),
      read: async () => await events.read(threadId, 0, 1),
      issue: async () => { await tickets.issue('x', { tokenExpiresAt: null }, new Date()) }
    }

    for (const [name, call] of Object.entries(calls)) await t.rejects(call, { code: 'THREADLINE_NO_CONTEXT' }, name)
  })

  t.test('many users at once on few connections each find their own', async (t) => {
    // kill: keep the opening of the first unit of work for the next ones (lib/storage/unit-of-work.ts)
    const users = Array.from({ length: 10 }, () => newcomer())
    for (const user of users) await as(user, async () => await storage.threads.create(newThreadId(), { title: user.userId }))

    const found = await Promise.all(Array.from({ length: 200 }, async (_, index) => {
      const user = users[index % users.length]
      if (user === undefined) throw new Error('There are users')
      const { threads } = await enterThread(user, async () => await storage.threads.list({ limit: 10 }))
      return threads.length === 1 && threads[0]?.title === user.userId
    }))

    t.ok(found.every(Boolean))
  })

  t.test('a unit of work keeps the user that was active when it was opened', async (t) => {
    // kill: name the active user before each query instead of in the opening (lib/storage/unit-of-work.ts, `rows`)
    const [alice, bob] = [newcomer(), newcomer()]
    const who = sql<{ id: string }>`select threadline.current_user_id() as id`

    const seen = await as(alice, async () => await units.asUser(async (unit) => {
      return await as(bob, async () => [...await unit.rows(who), ...await unit.lastRows(who)])
    }))

    t.same(seen, [{ id: alice.userId }, { id: alice.userId }])
  })

  t.test('nothing of a unit of work stays on its connection, however it ends', async (t) => {
    // kill: `set` instead of `set local` in the opening (lib/storage/unit-of-work.ts)
    const alice = newcomer()
    const failing = as(alice, async () => await units.asUser(async (unit) => await unit.rows(sql`select 1 / 0`)))
    await t.rejects(failing, { code: '22012' })
    await as(alice, async () => await storage.threads.create(newThreadId()))

    const left = await Promise.all(Array.from({ length: 8 }, async () => await ask(`
      select current_setting('threadline.user_id', true) as "user", current_user = session_user as login,
        current_setting('statement_timeout') as timeout`)))

    t.ok(left.flat().every(({ user, login, timeout }) => (user === '' || user === null) && login === true && timeout === '0'))
    await t.rejects(askAs('threadline_app', undefined, 'select * from threadline.threads'), { code: 'TL001' })
  })

  t.test('a unit of work that has ended takes no more queries', async (t) => {
    // kill: leave `#mustBeOpen` out of `rows` in lib/storage/unit-of-work.ts
    const alice = newcomer()
    const kept = await as(alice, async () => await units.asUser(async (unit) => {
      await unit.lastRows(sql`select 1`)
      await t.rejects(unit.rows(sql`select 2`), { message: /has ended/ })
      return unit
    }))

    await t.rejects(kept.rows(sql`select 3`), { message: /has ended/ })
  })

  t.test('a unit of work that throws leaves nothing behind', async (t) => {
    const alice = newcomer()
    const threadId = newThreadId()
    const insert = sql`insert into threadline.threads (thread_id, user_id) values (${threadId}, ${alice.userId})`

    await t.rejects(as(alice, async () => await units.asUser(async (unit) => {
      await unit.rows(insert)
      throw new Error('changed its mind')
    })), { message: 'changed its mind' })

    await t.rejects(as(alice, async () => await storage.threads.require(threadId)), { code: 'THREADLINE_THREAD_NOT_FOUND' })
  })
})
