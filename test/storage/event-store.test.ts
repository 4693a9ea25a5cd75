import { sql } from 'kysely'
import t from 'tap'
import type { Identity } from '../../lib/context/identity.ts'
import type { ThreadEvent } from '../../lib/protocol/events.ts'
import { newEventId, newMessageId, newThreadId, type ThreadId } from '../../lib/protocol/ids.ts'
import { as, completionOf, deltaOf, eventOf, lease, messageOf, newcomer, onEachDatabase, runningRun } from '../support/storage-databases.ts'

onEachDatabase(t, async (t, { storage, units, askAs }) => {
  const { events, runs } = storage
  const read = async (user: Identity, threadId: ThreadId, after = 0, limit = 1000): Promise<readonly ThreadEvent[]> => {
    const found = await as(user, async () => await events.read(threadId, after, limit))
    if (found === 'expired') throw new Error('All events are kept')
    return found
  }
  const notActive = { refused: 'run-not-active' }
  const notFound = { refused: 'thread-not-found' }

  t.test('events are numbered from 1 in the order given, and come back as they were', async (t) => {
    const alice = newcomer()
    const run = await runningRun(storage, alice)
    const batch = [
      eventOf(run, 'agent_started', { agent: 'assistant', message_id: run.messageId, input: 'zero \0, half \ud83d' }),
      eventOf(run, 'tool_completed', { tool_call_id: '1', tool: 'x', success: true, duration_ms: 1.5, result: { '\0': ['\udd00', 1e21] } }),
      deltaOf(run, '\'; drop table threadline.threads; -- \\u0000 \\')
    ]

    const appended = await events.append(batch)
    const found = await read(alice, run.threadId)
    const rest = await read(alice, run.threadId, 1, 1)

    t.same(appended, [{ sequence: 1 }, { sequence: 2 }, { sequence: 3 }])
    t.same(found, batch.map(({ event }, index) => ({ ...event, sequence: index + 1, epoch: storage.epoch })))
    t.same(rest, found.slice(1, 2))
    t.match(await as(alice, async () => await storage.threads.state(run.threadId)), { sequence: 3, keptAfter: 0 })
    t.same(await events.append([]), [])
  })

  t.test('sequences have no gap and no double, however many append at once', async (t) => {
    const users = [newcomer(), newcomer(), newcomer()]
    const running = await Promise.all(users.map(async (user) => await runningRun(storage, user)))
    const batches = Array.from({ length: 50 }, (_, index) => running.flatMap((run) => [deltaOf(run, `${index}a`), deltaOf(run, `${index}b`)]))

    const appended = await Promise.all(batches.map(async (batch) => await events.append(batch)))

    for (const [place, run] of running.entries()) {
      const own = appended.map((batch) => batch.slice(place * 2, place * 2 + 2).map((one) => 'sequence' in one ? one.sequence : 0))
      t.same(own.flat().toSorted((a, b) => a - b), Array.from({ length: 100 }, (_, index) => index + 1))
      t.ok(own.every(([first, second]) => (first ?? 0) + 1 === second), 'a batch stays together')
      const user = users[place]
      if (user === undefined) throw new Error('There are as many users as runs')
      t.same((await read(user, run.threadId)).map(({ sequence }) => sequence), Array.from({ length: 100 }, (_, index) => index + 1))
    }
  })

  t.test('an event that is stored already keeps its sequence, also within a batch and after its run has ended', async (t) => {
    const alice = newcomer()
    const run = await runningRun(storage, alice)
    const [first, second, last] = [deltaOf(run), deltaOf(run), completionOf(run, { message_id: newMessageId(), content: 'Done' })]

    t.same(await events.append([first, second, first]), [{ sequence: 1 }, { sequence: 2 }, { sequence: 1 }])
    t.same(await events.append([second, last]), [{ sequence: 2 }, { sequence: 3 }])
    t.same(await events.append([last, first, deltaOf(run)]), [{ sequence: 3 }, { sequence: 1 }, notActive])

    t.equal((await read(alice, run.threadId)).length, 3)
    t.equal((await as(alice, async () => await storage.messages.history(run.threadId, { limit: 10 }))).messages.length, 2)
  })

  t.test('the same event id in another thread is another event', async (t) => {
    const [alice, bob] = [newcomer(), newcomer()]
    const [hers, his] = [await runningRun(storage, alice), await runningRun(storage, bob)]
    const id = { event_id: newEventId() }

    const appended = await events.append([
      eventOf(hers, 'agent_delta', { text: 'hers', step: 0 }, id), eventOf(his, 'agent_delta', { text: 'his', step: 0 }, id)
    ])

    t.same(appended, [{ sequence: 1 }, { sequence: 1 }])
    t.match(await read(bob, his.threadId), [{ payload: { text: 'his' } }])
  })

  t.test('a run has one end, which stores the answer', async (t) => {
    const alice = newcomer()
    const run = await runningRun(storage, alice)
    const messageId = newMessageId()

    const appended = await events.append([
      completionOf(run, { message_id: messageId, content: 'zero \0, half \ud83d' }),
      completionOf(run, { status: 'failed', message_id: newMessageId(), content: 'Late' }),
      deltaOf(run)
    ])

    const { messages } = await as(alice, async () => await storage.messages.history(run.threadId, { limit: 10 }))
    t.same(appended, [{ sequence: 1 }, notActive, notActive])
    t.match(messages[1], { message_id: messageId, role: 'assistant', run_id: run.runId, content: 'zero \ufffd, half \ufffd' })
    t.equal(messages.length, 2)
    t.match(await as(alice, async () => await runs.require(run.runId)), { status: 'completed', finishedAt: String, error: null })
  })

  t.test('a run that fails says why, and leaves no answer', async (t) => {
    const alice = newcomer()
    const run = await runningRun(storage, alice)

    await events.append([
      completionOf(run, { status: 'failed', error: { code: 'THREADLINE_MODEL_FAILED', message: 'No', retryable: true } })
    ])

    t.match(await as(alice, async () => await runs.require(run.runId)), { status: 'failed', error: 'THREADLINE_MODEL_FAILED' })
    t.equal((await as(alice, async () => await storage.messages.history(run.threadId, { limit: 10 }))).messages.length, 1)
  })

  t.test('a run that waits can be told of and cancelled, by whoever knows it', async (t) => {
    const alice = newcomer()
    const message = messageOf()
    await as(alice, async () => await runs.accept(message))
    const queued = await as(alice, async () => await runs.require(message.runId))

    const appended = await events.append([deltaOf(queued), completionOf({ ...queued, attempt: 7 }, { status: 'cancelled', reason: 'asked' })])

    t.same(appended, [{ sequence: 1 }, { sequence: 2 }])
    t.match(await as(alice, async () => await runs.require(message.runId)), { status: 'cancelled', attempt: 0, error: 'asked' })
    t.equal(await as(alice, async () => await runs.claimNext(message.threadId, lease)), undefined)
  })

  t.test('an execution that has been overtaken by another attempt cannot write', async (t) => {
    const alice = newcomer()
    const run = await runningRun(storage, alice)
    const stale = { ...run, attempt: run.attempt - 1 }

    const appended = await events.append([deltaOf(stale), completionOf(stale), deltaOf(run)])

    t.same(appended, [notActive, notActive, { sequence: 1 }])
    t.equal((await as(alice, async () => await runs.require(run.runId))).status, 'running')
  })

  t.test('what is refused takes no number and hinders nobody', async (t) => {
    const [alice, bob] = [newcomer(), newcomer()]
    const [hers, his] = [await runningRun(storage, alice), await runningRun(storage, bob)]
    const nowhere = messageOf()
    const removed = await runningRun(storage, bob)
    await as(bob, async () => { await storage.threads.remove(removed.threadId) })

    const appended = await events.append([
      deltaOf(hers),
      deltaOf({ userId: alice.userId, threadId: nowhere.threadId, runId: nowhere.runId, attempt: 1 }),
      deltaOf({ ...hers, runId: nowhere.runId }),
      deltaOf({ ...hers, runId: his.runId }),
      deltaOf(removed),
      deltaOf(his),
      deltaOf(hers)
    ])

    t.same(appended, [{ sequence: 1 }, notFound, notActive, notActive, notFound, { sequence: 1 }, { sequence: 2 }])
    t.same((await events.append([deltaOf(hers)])), [{ sequence: 3 }])
  })

  t.test('each event is appended under row-level security in the name of its own user', async (t) => {
    // kill: in lib/storage/migrations/0007-message-tree-end.ts, leave out the call of set_config
    const [alice, bob] = [newcomer(), newcomer()]
    const [hers, his] = [await runningRun(storage, alice), await runningRun(storage, bob)]

    const appended = await events.append([deltaOf(hers), deltaOf(his)])

    t.same(appended, [{ sequence: 1 }, { sequence: 1 }])
    for (const [user, run] of [[alice, hers], [bob, his]] as const) {
      t.same(await askAs('threadline_app', user.userId, `select thread_id from threadline.run_events where event_id is not null`), [{ thread_id: run.threadId }])
    }
  })

  t.test('an end stores the tokens that the run has used, once, by model', async (t) => {
    const [alice, bob, carol] = [newcomer(), newcomer(), newcomer()]
    const usageOf = async (user: Identity) => await askAs('threadline_app', user.userId,
      'select run_id, step, model, input_tokens, output_tokens from threadline.usage')
    const [hers, his, theirs] = [await runningRun(storage, alice), await runningRun(storage, bob), await runningRun(storage, carol)]
    const last = completionOf(hers, { usage: { input_tokens: 12, output_tokens: 30.4, model: 'large' } })

    await events.append([
      last, last,
      completionOf(his, { status: 'cancelled', reason: 'rolled_back', usage: { input_tokens: Number.NaN, output_tokens: 5 } }),
      completionOf(theirs, { usage: { input_tokens: 0, output_tokens: 0, model: 'large' } })
    ])

    t.same(await usageOf(alice), [{ run_id: hers.runId, step: 0, model: 'large', input_tokens: 12, output_tokens: 30 }])
    t.same(await usageOf(bob), [{ run_id: his.runId, step: 0, model: 'unknown', input_tokens: 0, output_tokens: 5 }])
    t.same(await usageOf(carol), [])
  })

  t.test('events that are not kept any more have expired, and the later ones are read', async (t) => {
    const alice = newcomer()
    const run = await runningRun(storage, alice)
    await events.append([deltaOf(run), deltaOf(run), deltaOf(run), completionOf(run)])
    await as(alice, async () => await units.asUser(async (unit) => await unit.lastRows(
      sql`update threadline.threads set kept_after = 2 where thread_id = ${run.threadId}`
    )))
    const after = async (sequence: number) => await as(alice, async () => await events.read(run.threadId, sequence, 1))

    t.same([await after(0), await after(1)], ['expired', 'expired'])
    t.match([await after(2), await after(3), await after(4), await after(9)], [[{ sequence: 3 }], [{ sequence: 4 }], [], []])
  })

  t.test('a thread that is not there has no events', async (t) => {
    await t.rejects(as(newcomer(), async () => await events.read(newThreadId(), 0, 10)), { code: 'THREADLINE_THREAD_NOT_FOUND' })
  })
})
