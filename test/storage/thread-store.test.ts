import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import type { Identity } from '../../lib/context/identity.ts'
import { newMessageId, newThreadId, type ThreadId } from '../../lib/protocol/ids.ts'
import type { ThreadView } from '../../lib/protocol/events.ts'
import { checkRunEvents } from '../../lib/protocol/run-rules.ts'
import type { RunRecord } from '../../lib/stores/run-record.ts'
import { as, completionOf, deltaOf, eventOf, lease, messageOf, newcomer, onEachDatabase, runningRun } from '../support/storage-databases.ts'
import { readEvents } from '../support/stored-thread.ts'

const gone = { code: 'THREADLINE_THREAD_NOT_FOUND' }
const idsOf = (threads: readonly ThreadView[]): readonly string[] => threads.map((thread) => thread.thread_id)
const startOf = (run: RunRecord) => eventOf(run, 'agent_started', { agent: run.agent, message_id: run.messageId, input: run.input })

onEachDatabase(t, async (t, { storage, ask }) => {
  const { threads, runs, events } = storage

  /** As many threads of the user, the first one newest. */
  async function createThreads (user: Identity, count: number): Promise<readonly ThreadId[]> {
    const ids = Array.from({ length: count }, () => newThreadId())
    for (const threadId of ids.toReversed()) {
      await as(user, async () => await threads.create(threadId))
      await delay(2) // the embedded database's clock counts in ms, and their ids are in the other order
    }
    return ids
  }

  t.test('a thread is created, read, changed and listed', async (t) => {
    const alice = newcomer()
    const threadId = newThreadId()
    const metadata = { colour: 'green', '\0': ['\ud800', { deep: 1e21 }] }

    const created = await as(alice, async () => await threads.create(threadId, { title: 'Otters', metadata }))
    const read = await as(alice, async () => await threads.require(threadId))
    const renamed = await as(alice, async () => await threads.update(threadId, { title: 'Sea otters' }))
    const described = await as(alice, async () => await threads.update(threadId, { metadata: { size: 2 } }))
    const unchanged = await as(alice, async () => await threads.update(threadId, {}))
    const listed = await as(alice, async () => await threads.list({ limit: 10 }))

    t.match(created, { thread_id: threadId, title: 'Otters', created_at: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/ })
    t.match(created, { archived_at: null, deleted_at: null })
    t.same(created.metadata, metadata)
    t.same(read, created)
    t.match(renamed, { title: 'Sea otters', metadata })
    t.ok(renamed.updated_at >= created.updated_at)
    t.match(described, { title: 'Sea otters', created_at: created.created_at })
    t.same(described.metadata, { size: 2 })
    t.same(unchanged, described)
    t.same(listed, { threads: [described], total: 1, nextCursor: null })
  })

  t.test('a suggested title is taken where there is none, and does not move the thread up', async (t) => {
    const alice = newcomer()
    const [newer, older] = await createThreads(alice, 2)
    if (newer === undefined || older === undefined) throw new Error('There are two')

    const first = await as(alice, async () => await threads.suggestTitle(older, 'Otters'))
    const second = await as(alice, async () => await threads.suggestTitle(older, 'Whales'))
    await as(alice, async () => { await threads.remove(newer) })
    const late = await as(alice, async () => await threads.suggestTitle(newer, 'Whales'))

    t.match(first, { thread_id: older, title: 'Otters', updated_at: first?.created_at })
    t.same([second, late], [undefined, undefined])
    t.equal((await as(alice, async () => await threads.require(older))).title, 'Otters')
    t.equal((await as(alice, async () => await threads.require(newer, { deleted: true }))).title, null)
  })

  t.test('of many titles that are suggested at once, one is taken', async (t) => {
    const alice = newcomer()
    const [threadId = newThreadId()] = await createThreads(alice, 1)

    const suggested = await Promise.all(Array.from({ length: 8 }, async (_, index) => {
      return await as(alice, async () => await threads.suggestTitle(threadId, `Title ${index}`))
    }))

    const taken = suggested.filter((thread) => thread !== undefined)
    t.equal(taken.length, 1)
    t.equal((await as(alice, async () => await threads.require(threadId))).title, taken[0]?.title)
  })

  t.test('E63 threads are listed in pages of an offset, the one that was last written to first', async (t) => {
    const [alice, bob] = [newcomer(), newcomer()]
    const ids = await createThreads(alice, 25)
    await createThreads(bob, 3)
    const oldest = ids.at(-1) ?? newThreadId()
    await as(alice, async () => await runs.accept(messageOf({ threadId: oldest })))
    const order = [oldest, ...ids.slice(0, -1)]

    const second = await as(alice, async () => await threads.list({ limit: 10, offset: 10 }))
    const beyond = await as(alice, async () => await threads.list({ limit: 10, offset: 30 }))

    t.same(idsOf(second.threads), order.slice(10, 20))
    t.equal(second.total, 25)
    t.same(beyond, { threads: [], total: 25, nextCursor: null })
  })

  t.test('pages that follow cursors lose and double no thread, also within one millisecond, and whatever is written in between', async (t) => {
    const alice = newcomer()
    const ids = await createThreads(alice, 12)
    const written = newThreadId()
    // Six points in time a microsecond apart, two threads at each.
    await ask(`
      begin; set local role threadline_app; set local threadline.user_id = '${alice.userId}';
      update threadline.threads set updated_at = timestamptz '2026-11-22 12:00:00.123450Z' + numbered.place / 2 * interval '1 microsecond'
        from (select thread_id as id, (row_number() over (order by thread_id) - 1)::integer as place from threadline.threads) numbered
        where numbered.id = thread_id;
      commit`)

    const seen: string[] = []
    for (let cursor: string | undefined, page = 0; page < 10; page++) {
      const { threads: listed, total, nextCursor } = await as(alice, async () => await threads.list({ limit: 5, cursor }))
      seen.push(...idsOf(listed))
      if (page === 0) await as(alice, async () => await threads.create(written))
      t.equal(total, page === 0 ? 12 : 13)
      if (nextCursor === null) break
      cursor = nextCursor
    }

    t.same(seen, ids.toSorted().toReversed())
  })

  t.test('the offset counts from the cursor', async (t) => {
    const alice = newcomer()
    const ids = await createThreads(alice, 6)
    const { nextCursor } = await as(alice, async () => await threads.list({ limit: 2 }))

    const page = await as(alice, async () => await threads.list({ limit: 2, offset: 1, cursor: nextCursor ?? '' }))

    t.same(idsOf(page.threads), ids.slice(3, 5))
  })

  t.test('a cursor is a place and no right: another user goes on among their own threads', async (t) => {
    // kill: open the unit of work in the name of another user (lib/storage/unit-of-work.ts, `asUser`)
    const [alice, bob] = [newcomer(), newcomer()]
    const his = await createThreads(bob, 2)
    await createThreads(alice, 4)
    const { nextCursor } = await as(alice, async () => await threads.list({ limit: 2 }))

    const page = await as(bob, async () => await threads.list({ limit: 10, cursor: nextCursor ?? '' }))

    t.same(idsOf(page.threads), his)
    t.equal(page.total, 2)
  })

  t.test('what is no cursor of a list is refused', async (t) => {
    const alice = newcomer()
    await createThreads(alice, 3)
    const { nextCursor } = await as(alice, async () => await threads.list({ limit: 1 }))
    const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
    const cursors = [
      '', 'x', '\0', 'null', `${nextCursor}x`, `${nextCursor}=`, encode(null), encode(['threads 1']), encode(['threads 1', ['x', newThreadId()]]),
      encode(['threads 1', [1.5, newThreadId()]]), encode(['threads 1', [-1, newThreadId()]]), encode(['threads 1', [1e300, newThreadId()]]),
      encode(['threads 1', [1, '\' or true --']]), encode(['threads 2', [1, newThreadId()]]), encode(['search 1', 5])
    ]

    for (const cursor of cursors) {
      const listing = as(alice, async () => await threads.list({ limit: 1, cursor }))
      await t.rejects(listing, { code: 'THREADLINE_BAD_REQUEST', field: 'cursor' }, cursor)
    }
    const farthest = encode(['threads 1', [Number.MAX_SAFE_INTEGER, newThreadId()]])
    t.equal((await as(alice, async () => await threads.list({ limit: 5, cursor: farthest }))).threads.length, 3)
  })

  t.test('an archived thread is listed apart, and is used as before; restored, it is where it was', async (t) => {
    const alice = newcomer()
    const [first = newThreadId(), second = newThreadId()] = await createThreads(alice, 2)
    const before = await as(alice, async () => await threads.require(second))

    const archived = await as(alice, async () => await threads.archive(second))
    const again = await as(alice, async () => await threads.archive(second))
    const list = async (state: 'active' | 'archived' | 'deleted') => idsOf((await as(alice, async () => await threads.list({ limit: 10, state }))).threads)

    t.match(archived, { archived_at: String, updated_at: before.updated_at })
    t.same(again, archived)
    t.same(await as(alice, async () => await threads.require(second)), archived)
    t.same([await list('active'), await list('archived'), await list('deleted')], [[first], [second], []])

    t.same(await as(alice, async () => await threads.restore(second)), before)
    t.same(await as(alice, async () => await threads.restore(second)), before, 'nothing changes for an active one')
    t.same([await list('active'), await list('archived')], [[first, second], []])
  })

  t.test('E64 a thread that was removed is gone for every question, and its runs have ended', async (t) => {
    const alice = newcomer()
    const run = await runningRun(storage, alice)
    const { threadId } = run
    await as(alice, async () => await runs.accept(messageOf({ threadId })))

    await as(alice, async () => { await threads.remove(threadId) })

    const questions: Record<string, () => Promise<unknown>> = {
      require: async () => await threads.require(threadId),
      state: async () => await threads.state(threadId),
      update: async () => await threads.update(threadId, { title: 'x' }),
      archive: async () => await threads.archive(threadId),
      remove: async () => { await threads.remove(threadId) },
      fork: async () => await threads.fork(threadId, newThreadId(), {}),
      history: async () => await storage.messages.history(threadId, { limit: 10 }),
      read: async () => await events.read(threadId, 0, 10),
      runs: async () => await runs.list(threadId, { limit: 10 }),
      accept: async () => await runs.accept(messageOf({ threadId }))
    }
    for (const [name, question] of Object.entries(questions)) await t.rejects(as(alice, question), gone, name)
    t.same(await as(alice, async () => await threads.list({ limit: 10 })), { threads: [], total: 0, nextCursor: null })
    t.same((await as(alice, async () => await threads.search('hello', { limit: 10 }))).results, [])
    t.equal(await as(alice, async () => await runs.claimNext(threadId, lease)), undefined)
    t.match(await as(alice, async () => await runs.require(run.runId)), { status: 'cancelled', finishedAt: String })
    t.notOk((await runs.recoverable()).some((unfinished) => unfinished.threadId === threadId))
  })

  // kill: no `endRuns` in `removeThread` of lib/storage/remove-thread.ts, but the runs set to `cancelled`.
  t.test('E64 a thread that was removed in the middle of its runs tells one end of each when it is restored', async (t) => {
    const alice = newcomer()
    const run = await runningRun(storage, alice)
    const { threadId } = run
    const waiting = messageOf({ threadId, content: 'And then?' })
    await as(alice, async () => await runs.accept(waiting))
    await events.append([startOf(run), deltaOf(run, 'So '), deltaOf(run, 'far'), eventOf(run, 'tool_executing', { tool_call_id: 'call-1', tool: 'count', parameters: {} })])

    await as(alice, async () => { await threads.remove(threadId) })
    await as(alice, async () => await threads.restore(threadId))
    const late = await events.append([deltaOf(run), completionOf(run)])

    const log = await as(alice, async () => await readEvents(storage, threadId, 100))
    t.same(late, [{ refused: 'run-not-active' }, { refused: 'run-not-active' }])
    t.same(log.map(({ sequence }) => sequence), [1, 2, 3, 4, 5, 6, 7])
    t.match(log.slice(4), [
      { type: 'tool_completed', run_id: run.runId, payload: { tool_call_id: 'call-1', tool: 'count', success: false } },
      { type: 'agent_completed', run_id: run.runId, request_id: run.requestId, payload: { status: 'cancelled', content: 'So far' } },
      { type: 'agent_completed', run_id: waiting.runId, agent_name: 'assistant', payload: { status: 'cancelled', content: undefined } }
    ])
    t.same(checkRunEvents(log.filter(({ run_id: id }) => id === run.runId)).filter(({ rule }) => rule !== 'missing'), [])
    const { messages } = await as(alice, async () => await storage.messages.history(threadId, { limit: 10 }))
    t.same(messages.map(({ content }) => content), ['Hello', 'So far', 'And then?'])
    const kept = await as(alice, async () => await runs.list(threadId, { limit: 10 }))
    t.match(kept.runs, [{ runId: waiting.runId, status: 'cancelled', finishedAt: String }, { runId: run.runId, status: 'cancelled', finishedAt: String }])
  })

  t.test('E64 a deleted thread can be found among the deleted ones, and is intact when it is restored', async (t) => {
    const alice = newcomer()
    const run = await runningRun(storage, alice)
    const { threadId } = run
    await events.append([startOf(run), deltaOf(run), completionOf(run, { message_id: newMessageId(), content: 'Done' })])
    await as(alice, async () => await threads.update(threadId, { title: 'Otters', metadata: { colour: 'green' } }))
    const everything = async () => await as(alice, async () => ({
      thread: await threads.require(threadId),
      messages: await storage.messages.history(threadId, { limit: 10 }),
      events: await events.read(threadId, 0, 10),
      runs: await runs.list(threadId, { limit: 10 })
    }))
    const before = await everything()

    await as(alice, async () => { await threads.remove(threadId) })
    const deleted = await as(alice, async () => await threads.list({ limit: 10, state: 'deleted' }))
    const required = await as(alice, async () => await threads.require(threadId, { deleted: true }))
    const restored = await as(alice, async () => await threads.restore(threadId))

    t.match(deleted, { threads: [{ thread_id: threadId, title: 'Otters', deleted_at: String }], total: 1 })
    t.same(required, deleted.threads[0])
    t.same(restored, before.thread)
    t.same(await everything(), before)
    t.equal((await as(alice, async () => await threads.list({ limit: 10, state: 'deleted' }))).total, 0)
    await t.resolves(as(alice, async () => await runs.accept(messageOf({ threadId }))))
  })

  t.test('the state of a thread has what its unfinished runs have said', async (t) => {
    const alice = newcomer()
    const run = await runningRun(storage, alice)
    const { threadId } = run
    const waiting = await as(alice, async () => await runs.accept(messageOf({ threadId, agent: 'poet' })))
    const state = async () => await as(alice, async () => await threads.state(threadId))
    const active = { run_id: run.runId, message_id: run.messageId, agent: 'assistant', status: 'running' }
    const queued = { run_id: waiting.runId, message_id: waiting.messageId, agent: 'poet', status: 'queued', text: '' }

    t.same((await state()).activeRuns, [{ ...active, text: '' }, queued])
    await events.append([startOf(run), deltaOf(run, 'zero \0, '), deltaOf(run, 'half \ud83d'), eventOf(run, 'agent_thinking', { message: 'hm', step: 1 })])
    await events.append([deltaOf(run, ' and whole \u{1f9a6}')])
    t.same(await state(), {
      thread: await as(alice, async () => await threads.require(threadId)),
      sequence: 5,
      keptAfter: 0,
      activeRuns: [{ ...active, text: 'zero \0, half \ud83d and whole \u{1f9a6}' }, queued]
    })

    await events.append([completionOf(run)])
    const next = await as(alice, async () => await runs.claimNext(threadId, lease))
    if (next === undefined) throw new Error('There was nothing to claim')
    await events.append([startOf(next), deltaOf(next, 'Roses')])

    t.match(await state(), { sequence: 8, activeRuns: [{ run_id: waiting.runId, status: 'running', text: 'Roses' }] })
  })

  t.test('what a run told before it was gone on with is not its text any more, and its tools are its tools', async (t) => {
    // kill: leave `agent_resumed` out of `textBegins` in lib/storage/thread-state.ts
    const alice = newcomer()
    const first = await runningRun(storage, alice)
    const { runId, threadId } = first
    const text = async () => (await as(alice, async () => await threads.state(threadId))).activeRuns[0]?.text
    const takeOver = async () => {
      await as(alice, async () => { await storage.queue.release(await storage.runs.require(runId)) })
      const run = await as(alice, async () => await storage.runs.claimNext(threadId, lease))
      if (run === undefined) throw new Error('It was given back')
      return run
    }
    const call = (id: string) => eventOf(first, 'tool_executing', { tool_call_id: id, tool: 'search', parameters: {} })
    await events.append([startOf(first), deltaOf(first, 'void'), call('1'), call('2')])

    const second = await takeOver()
    t.equal(await text(), 'void', 'until it is said')
    await events.append([eventOf(second, 'agent_resumed', { attempt: 2 }), deltaOf(second, 'Ro'), deltaOf(second, 'ses')])
    t.equal(await text(), 'Roses')
    const third = await takeOver()
    await events.append([
      eventOf(third, 'agent_resumed', { attempt: 3 }),
      eventOf(third, 'tool_completed', { tool_call_id: '1', tool: 'search', success: true, duration_ms: 1 }), deltaOf(third, 'Violets')
    ])

    t.equal(await text(), 'Violets')
    t.match(await as(alice, async () => await storage.runs.unfinished(threadId)), [{ runId, attempt: 3 }])
    t.same(await as(alice, async () => await storage.runs.openTools(runId)), [{ toolCallId: '2', tool: 'search' }])
    t.equal(await as(alice, async () => await storage.runs.firstSequence(runId)), 1)
    await as(alice, async () => { await threads.remove(threadId) })
    const last = await as(alice, async () => {
      await threads.restore(threadId)
      return await storage.events.read(threadId, 9, 10)
    })
    t.match(last, [{ type: 'agent_delta' }, { type: 'tool_completed' }, { type: 'agent_completed', payload: { content: 'Violets' } }])
  })

  t.test('the state of a thread is that of one moment', async (t) => {
    // kill: read `last_sequence` in a query before, in lib/storage/thread-state.ts
    const alice = newcomer()
    const run = await runningRun(storage, alice)
    await events.append([startOf(run)])
    const appending = Array.from({ length: 40 }, async (_, index) => await events.append([deltaOf(run, `${index} `)]))
    const reading = Array.from({ length: 40 }, async () => await as(alice, async () => await threads.state(run.threadId)))

    await Promise.all(appending)
    const states = await Promise.all(reading)

    const told = await as(alice, async () => await events.read(run.threadId, 0, 100))
    if (told === 'expired') throw new Error('All is kept')
    const textUpTo = (sequence: number) => told.filter((event) => event.type === 'agent_delta' && event.sequence <= sequence)
      .map(({ payload }) => 'text' in payload ? payload.text : '').join('')
    for (const { sequence, activeRuns } of states) t.equal(activeRuns[0]?.text, textUpTo(sequence))
  })

  t.test('what a run has said is told up to a bound', async (t) => {
    const alice = newcomer()
    const run = await runningRun(storage, alice)
    const large = 'x'.repeat(1_500_000)
    for (const event of [startOf(run), deltaOf(run, large), deltaOf(run, large), deltaOf(run, large)]) await events.append([event])

    const { activeRuns, sequence } = await as(alice, async () => await threads.state(run.threadId))

    t.equal(sequence, 4)
    t.equal(activeRuns[0]?.text.length, 2 * large.length)
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
    const refused = { code: 'THREADLINE_BAD_REQUEST', field: 'title' }

    await t.rejects(as(alice, async () => await threads.create(threadId, { title: 'a\0b' })), refused)
    await as(alice, async () => await threads.create(threadId, { title }))
    await t.rejects(as(alice, async () => await threads.update(threadId, { title: 'a\0b' })), refused)

    t.equal((await as(alice, async () => await threads.require(threadId))).title, title)
  })
})
