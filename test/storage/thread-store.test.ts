import t from 'tap'
import { newThreadId } from '../../lib/protocol/ids.ts'
import { as, messageOf, newcomer, onEachDatabase, runningRun } from '../support/storage-databases.ts'

onEachDatabase(t, async (t, { storage }) => {
  const { threads } = storage

  t.test('a thread is created, read, renamed and listed', async (t) => {
    const alice = newcomer()
    const threadId = newThreadId()

    const created = await as(alice, async () => await threads.create(threadId, 'Otters'))
    const read = await as(alice, async () => await threads.require(threadId))
    const renamed = await as(alice, async () => await threads.rename(threadId, 'Sea otters'))
    const listed = await as(alice, async () => await threads.list({ limit: 10, offset: 0 }))

    t.match(created, { thread_id: threadId, title: 'Otters', created_at: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/ })
    t.same(read, created)
    t.equal(renamed.title, 'Sea otters')
    t.ok(renamed.updated_at >= created.updated_at)
    t.same(listed, { threads: [renamed], total: 1 })
    t.equal(await as(alice, async () => await threads.lastSequence(threadId)), 0)
  })

  t.test('threads are listed in pages, the one that was last used first', async (t) => {
    const alice = newcomer()
    const [first, second, third] = [newThreadId(), newThreadId(), newThreadId()]
    for (const threadId of [first, second, third]) await as(alice, async () => await threads.create(threadId))
    await as(alice, async () => await storage.runs.accept(messageOf({ threadId: first })))

    const page = await as(alice, async () => await threads.list({ limit: 2, offset: 0 }))
    const rest = await as(alice, async () => await threads.list({ limit: 2, offset: 2 }))
    const beyond = await as(alice, async () => await threads.list({ limit: 2, offset: 4 }))

    t.same(page.threads.map((thread) => thread.thread_id), [first, third])
    t.same(rest.threads.map((thread) => thread.thread_id), [second])
    t.same([page.total, rest.total, beyond.total], [3, 3, 3])
    t.same(beyond.threads, [])
  })

  t.test('a thread that was removed is gone for every question, and its runs have ended', async (t) => {
    const alice = newcomer()
    const run = await runningRun(storage, alice)
    const { threadId } = run
    await as(alice, async () => await storage.runs.accept(messageOf({ threadId })))

    await as(alice, async () => { await threads.remove(threadId) })

    const gone = { code: 'THREADLINE_THREAD_NOT_FOUND' }
    await t.rejects(as(alice, async () => await threads.require(threadId)), gone)
    await t.rejects(as(alice, async () => await threads.rename(threadId, 'x')), gone)
    await t.rejects(as(alice, async () => { await threads.remove(threadId) }), gone)
    await t.rejects(as(alice, async () => await threads.lastSequence(threadId)), gone)
    await t.rejects(as(alice, async () => await storage.messages.history(threadId, { limit: 10 })), gone)
    await t.rejects(as(alice, async () => await storage.events.read(threadId, 0, 10)), gone)
    await t.rejects(as(alice, async () => await storage.runs.list(threadId, 10)), gone)
    await t.rejects(as(alice, async () => await storage.runs.accept(messageOf({ threadId }))), gone)
    t.same(await as(alice, async () => await threads.list({ limit: 10, offset: 0 })), { threads: [], total: 0 })
    t.equal(await as(alice, async () => await storage.runs.claimNext(threadId)), undefined)
    t.match(await as(alice, async () => await storage.runs.require(run.runId)), { status: 'cancelled', finishedAt: String })
    t.notOk((await storage.runs.recoverable()).some((unfinished) => unfinished.threadId === threadId))
  })

  t.test('an id that is taken is refused alike, whoever has it', async (t) => {
    const [alice, bob] = [newcomer(), newcomer()]
    const threadId = newThreadId()
    await as(alice, async () => await threads.create(threadId))

    await t.rejects(as(alice, async () => await threads.create(threadId)), { code: 'THREADLINE_CONFLICT' })
    await t.rejects(as(bob, async () => await threads.create(threadId)), { code: 'THREADLINE_CONFLICT' })
  })

  t.test('text with a zero character is refused, and any other comes back as it was', async (t) => {
    const alice = newcomer("o'alice \\ \u{1f9a6}")
    const threadId = newThreadId()
    const title = '\'; drop table threadline.threads; -- \\ $1 \u{1f9a6} \u202e'

    await t.rejects(as(alice, async () => await threads.create(threadId, 'a\0b')), { code: 'THREADLINE_BAD_REQUEST', field: 'title' })
    await as(alice, async () => await threads.create(threadId, title))

    t.equal((await as(alice, async () => await threads.require(threadId))).title, title)
  })
})
