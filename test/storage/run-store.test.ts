import t from 'tap'
import type { Identity } from '../../lib/context/identity.ts'
import { newRunId, newThreadId, type ThreadId } from '../../lib/protocol/ids.ts'
import type { Acceptance, AcceptedMessage } from '../../lib/stores/run-store.ts'
import { as, completionOf, eventOf, lease, messageOf, newcomer, onEachDatabase, runningRun } from '../support/storage-databases.ts'

onEachDatabase(t, async (t, { storage, askAs }) => {
  const { runs } = storage
  const accept = async (user: Identity, message: AcceptedMessage): Promise<Acceptance> =>
    await as(user, async () => await runs.accept(message))
  const claim = async (user: Identity, threadId: ThreadId) => await as(user, async () => await runs.claimNext(threadId, lease))

  t.test('a message is stored with its run, and with its thread when that is new', async (t) => {
    const alice = newcomer()
    const message = messageOf({ metadata: { zero: '\0', half: '\ud83d' }, context: { deep: { zero: '\0' } }, traceparent: '00-a-b-01' })

    const accepted = await accept(alice, message)
    const run = await as(alice, async () => await runs.require(message.runId))
    const { messages } = await as(alice, async () => await storage.messages.history(message.threadId, { limit: 10 }))

    t.match(accepted, { messageId: message.messageId, runId: message.runId, duplicate: false, position: 0 })
    t.match(accepted.thread, { thread_id: message.threadId, title: null })
    t.match(run, {
      runId: message.runId,
      threadId: message.threadId,
      userId: alice.userId,
      messageId: message.messageId,
      requestId: alice.requestId,
      connectionId: null,
      agent: 'assistant',
      input: 'Hello',
      context: message.context,
      status: 'queued',
      attempt: 0,
      traceparent: '00-a-b-01',
      startedAt: null,
      finishedAt: null,
      error: null
    })
    t.match(messages, [{ message_id: message.messageId, run_id: message.runId, role: 'user', content: 'Hello' }])
  })

  t.test('a message that comes again with its client id is the same message, also when both come at once', async (t) => {
    const alice = newcomer()
    const copies = Array.from({ length: 8 }, () => messageOf({ clientId: 'm-1' }))

    const accepted = await Promise.all(copies.map(async (message) => await accept(alice, message)))
    const again = await accept(alice, messageOf({ clientId: 'm-1' }))

    t.equal(accepted.filter(({ duplicate }) => !duplicate).length, 1)
    t.equal(new Set(accepted.map(({ runId }) => runId)).size, 1)
    t.match(again, { duplicate: true, runId: accepted[0]?.runId, thread: accepted[0]?.thread })
    t.equal((await as(alice, async () => await storage.threads.list({ limit: 10 }))).total, 1)
  })

  t.test('a client id belongs to its user, and to its text', async (t) => {
    const [alice, bob] = [newcomer(), newcomer()]
    await accept(alice, messageOf({ clientId: 'm-1' }))

    t.equal((await accept(bob, messageOf({ clientId: 'm-1' }))).duplicate, false)
    await t.rejects(accept(alice, messageOf({ clientId: 'm-1', content: 'Other' })), { code: 'THREADLINE_CONFLICT' })
  })

  t.test('a thread takes as many waiting runs as the caller allows, or none', async (t) => {
    const alice = newcomer()
    const { threadId } = await runningRun(storage, alice)
    const next = (changes: Partial<AcceptedMessage>) => messageOf({ threadId, ...changes })

    await t.rejects(accept(alice, next({ strategy: 'reject' })), { code: 'THREADLINE_THREAD_BUSY' })
    t.equal((await accept(alice, next({ maxWaiting: 1 }))).position, 1)
    await t.rejects(accept(alice, next({ maxWaiting: 1 })), { code: 'THREADLINE_QUEUE_FULL' })
    t.equal((await accept(alice, next({ maxWaiting: 2 }))).position, 2)
    t.equal((await as(alice, async () => await runs.unfinished(threadId))).length, 3)
  })

  t.test('nothing is left of a message that was refused', async (t) => {
    const alice = newcomer()
    const { threadId } = await runningRun(storage, alice)
    const refused = messageOf({ threadId, strategy: 'reject', clientId: 'm-1' })

    await t.rejects(accept(alice, refused))

    await t.rejects(as(alice, async () => await runs.require(refused.runId)), { code: 'THREADLINE_RUN_NOT_FOUND' })
    t.equal((await as(alice, async () => await storage.messages.history(threadId, { limit: 10 }))).messages.length, 1)
    t.equal((await accept(alice, messageOf({ threadId, clientId: 'm-1' }))).duplicate, false)
  })

  t.test('text that a database cannot keep is refused, and the storage goes on', async (t) => {
    const alice = newcomer()

    for (const [field, message] of Object.entries({
      content: messageOf({ content: 'a\0b' }),
      id: messageOf({ clientId: 'a\0b' }),
      agent: messageOf({ agent: 'a\0b' }),
      traceparent: messageOf({ traceparent: 'a\0b' })
    })) await t.rejects(accept(alice, message), { code: 'THREADLINE_BAD_REQUEST', field })

    await t.resolves(accept(alice, messageOf({ content: 'half an emoji: \ud83d' })))
  })

  t.test('runs of a thread are claimed one after the other, in the order of acceptance', async (t) => {
    const alice = newcomer()
    const threadId = newThreadId()
    const messages = [messageOf({ threadId, newThread: true }), messageOf({ threadId }), messageOf({ threadId })]
    for (const message of messages) await accept(alice, message)

    const order: string[] = []
    for (let run = await claim(alice, threadId); run !== undefined; run = await claim(alice, threadId)) {
      t.match(run, { status: 'running', attempt: 1, startedAt: String })
      t.equal(await claim(alice, threadId), undefined, 'one is running')
      order.push(run.runId)
      await storage.events.append([completionOf(run)])
    }

    t.same(order, messages.map(({ runId }) => runId))
  })

  t.test('runs of a thread are listed in pages, newest first', async (t) => {
    const alice = newcomer()
    const [first, other] = [messageOf(), messageOf()]
    const { threadId } = first
    const messages = [first, messageOf({ threadId }), messageOf({ threadId }), other]
    for (const message of messages) await accept(alice, message)
    const list = async (before?: AcceptedMessage) => {
      const { runs: page, hasMore } = await as(alice, async () => await runs.list(threadId, { limit: 2, before: before?.runId }))
      return { places: page.map(({ runId }) => messages.findIndex((message) => message.runId === runId)), hasMore }
    }

    t.same(await list(), { places: [2, 1], hasMore: true })
    t.same(await list(messages[1]), { places: [0], hasMore: false })
    t.same(await list(first), { places: [], hasMore: false })
    await t.rejects(list(other), { code: 'THREADLINE_RUN_NOT_FOUND' }, 'a run of another thread')
    await t.rejects(list(messageOf({ threadId })), { code: 'THREADLINE_RUN_NOT_FOUND' })
  })

  t.test('of many that claim at once, one gets the run', async (t) => {
    const alice = newcomer()
    const threadId = newThreadId()
    await accept(alice, messageOf({ threadId, newThread: true }))
    await accept(alice, messageOf({ threadId }))

    const claimed = await Promise.all(Array.from({ length: 12 }, async () => await claim(alice, threadId)))

    t.equal(claimed.filter((run) => run !== undefined).length, 1)
  })

  t.test('the database itself has at most one running run in a thread', async (t) => {
    const alice = newcomer()
    const { threadId } = await runningRun(storage, alice)
    const second = await accept(alice, messageOf({ threadId }))

    const claimByHand = askAs('threadline_app', alice.userId, `update threadline.runs set status = 'running' where run_id = '${second.runId}'`)

    await t.rejects(claimByHand, { message: /runs_one_running/ })
  })

  t.test('runs that would be ended by an interrupting or a rolling back one count until they are', async (t) => {
    const alice = newcomer()
    const { threadId } = await runningRun(storage, alice)

    t.equal((await accept(alice, messageOf({ threadId, strategy: 'interrupt', maxWaiting: 1 }))).position, 1)
    for (const strategy of ['interrupt', 'rollback'] as const) {
      await t.rejects(accept(alice, messageOf({ threadId, strategy, maxWaiting: 1 })), { code: 'THREADLINE_QUEUE_FULL' })
      t.equal((await accept(alice, messageOf({ threadId, strategy, maxWaiting: 9 }))).duplicate, false)
    }
  })

  t.test('a message brings a thread back out of the archive', async (t) => {
    const alice = newcomer()
    const threadId = newThreadId()
    await as(alice, async () => await storage.threads.create(threadId, { metadata: { colour: 'green' } }))
    await as(alice, async () => await storage.threads.archive(threadId))

    const { thread } = await accept(alice, messageOf({ threadId }))

    t.match(thread, { archived_at: null, deleted_at: null, metadata: { colour: 'green' } })
    t.same(await as(alice, async () => await storage.threads.require(threadId)), thread)
  })

  t.test('a message whose thread was deleted is not accepted again', async (t) => {
    const alice = newcomer()
    const message = messageOf({ clientId: 'm-1' })
    await accept(alice, message)
    await as(alice, async () => { await storage.threads.remove(message.threadId) })

    await t.rejects(accept(alice, messageOf({ clientId: 'm-1' })), { code: 'THREADLINE_THREAD_NOT_FOUND' })
  })

  t.test('tools that were announced and have not completed are found, in order', async (t) => {
    const alice = newcomer()
    const run = await runningRun(storage, alice)
    const executing = (id: string, tool: string) => eventOf(run, 'tool_executing', { tool_call_id: id, tool, parameters: { zero: '\0' } })
    const completed = (id: string) => eventOf(run, 'tool_completed', { tool_call_id: id, tool: 'x', success: true, duration_ms: 1 })
    const open = async () => await as(alice, async () => await runs.openTools(run.runId))

    t.same(await open(), [])
    await storage.events.append([
      eventOf(run, 'agent_started', { agent: 'assistant', message_id: run.messageId, input: 'x' }),
      executing('1', 'search'), executing('2', 'read'), completed('1'), executing('3', 'write')
    ])

    t.same(await open(), [{ toolCallId: '2', tool: 'read' }, { toolCallId: '3', tool: 'write' }])
    t.same(await as(newcomer(), async () => await runs.openTools(run.runId)), [])
  })

  t.test('the first event of a run is its start, or its end when it never started', async (t) => {
    const alice = newcomer()
    const run = await runningRun(storage, alice)
    const waiting = await accept(alice, messageOf({ threadId: run.threadId }))
    const first = async ({ runId }: Acceptance | typeof run) => await as(alice, async () => await runs.firstSequence(runId))

    t.same([await first(run), await first(waiting)], [undefined, undefined])
    await storage.events.append([
      eventOf(run, 'agent_started', { agent: 'assistant', message_id: run.messageId, input: 'x' }),
      completionOf({ ...run, runId: waiting.runId }, { status: 'cancelled' }),
      completionOf(run)
    ])

    t.same([await first(run), await first(waiting)], [1, 2])
    t.equal(await as(newcomer(), async () => await runs.firstSequence(run.runId)), undefined)
    t.equal(await as(alice, async () => await runs.firstSequence(newRunId(run.threadId))), undefined)
  })

  t.test('unfinished runs of everybody are found at the start, with whose they are', async (t) => {
    const [alice, bob] = [newcomer(), newcomer()]
    const running = await runningRun(storage, alice)
    const queued = await accept(bob, messageOf())
    const ended = await runningRun(storage, bob)
    await storage.events.append([completionOf(ended)])

    const found = await runs.recoverable()

    t.match(found.find(({ runId }) => runId === running.runId), { userId: alice.userId, status: 'running', attempt: 1 })
    t.match(found.find(({ runId }) => runId === queued.runId), { userId: bob.userId, status: 'queued', attempt: 0 })
    t.notOk(found.some(({ runId }) => runId === ended.runId))
  })
})
