import t from 'tap'
import { metricDefinitions } from '../../lib/context/metric-definitions.ts'
import type { Identity } from '../../lib/context/identity.ts'
import { newMessageId, newRequestId, newRunId, newThreadId, type RunId, type ThreadId } from '../../lib/protocol/ids.ts'
import { createQueueStore } from '../../lib/storage/queue-store.ts'
import { UnreadableRuns } from '../../lib/storage/unreadable-runs.ts'
import type { Lease } from '../../lib/stores/queue-store.ts'
import type { RunRecord } from '../../lib/stores/run-record.ts'
import { watchCounters } from '../support/counters.ts'
import { createSilentLogger } from '../support/silent-logger.ts'
import {
  as, completionOf, deltaOf, eventOf, messageOf, newcomer, onEachDatabase, regenerationOf, runningRun
} from '../support/storage-databases.ts'

const [first, second]: readonly [Lease, Lease] = [{ worker: 'first', leaseMs: 60_000 }, { worker: 'second', leaseMs: 60_000 }]
const active = 'run-not-active'

onEachDatabase(t, async (t, { storage, units, ask, askAs }) => {
  const { runs, events, queue } = storage
  const claim = async (user: Identity, threadId: ThreadId, lease = first) => await as(user, async () => await runs.claimNext(threadId, lease))

  /** As the owner of the tables, in the name of the user: time cannot be waited for. */
  const change = async (user: Identity, text: string) => await ask(`begin; set local threadline.user_id = '${user.userId}'; ${text}; commit`)

  /** Past row-level security, which binds the owner of the tables as well. */
  const past = async (text: string) => await ask(`
    begin; alter table threadline.threads no force row level security; alter table threadline.runs no force row level security; ${text};
    alter table threadline.threads force row level security; alter table threadline.runs force row level security; commit`)

  /** A run that waits and that no service has stored. */
  async function plant (userId: string, threadId: string, waitedSeconds: number, name: string = newRequestId()): Promise<string> {
    const runId = `run_${threadId}_${name}`
    await past(`
      insert into threadline.threads (thread_id, user_id) values ('${threadId}', '${userId}');
      insert into threadline.runs (run_id, thread_id, user_id, message_id, request_id, agent, input, context, created_at)
        values ('${runId}', '${threadId}', '${userId}', '${newMessageId()}', '${newRequestId()}', 'assistant', 'hello', '{}', now() - interval '${waitedSeconds} seconds')`)
    return runId
  }

  /** Lets the lease of a run have been over for a while. */
  async function lapse (user: Identity, { runId }: RunRecord, seconds = 1): Promise<void> {
    await change(user, `update threadline.runs set lease_until = now() - interval '${seconds} seconds' where run_id = '${runId}'`)
  }

  async function queued (user: Identity, waitedSeconds = 0, threadId?: ThreadId): Promise<ThreadId> {
    const message = messageOf(threadId === undefined ? {} : { threadId })
    await as(user, async () => await runs.accept(message))
    await change(user, `update threadline.runs set created_at = now() - interval '${waitedSeconds} seconds' where run_id = '${message.runId}'`)
    return message.threadId
  }

  async function claimed (user: Identity, lease = first): Promise<RunRecord> {
    const run = await claim(user, await queued(user), lease)
    if (run === undefined) throw new Error('There was nothing to claim')
    return run
  }

  /** Of what can be taken, that of some users, as places in a list of threads. */
  async function claimableOf (threads: readonly ThreadId[], options: { limit?: number, waitedMs?: number } = {}): Promise<readonly number[]> {
    const found = await queue.claimable({ limit: 1_000, ...options })
    return found.map(({ threadId }) => threads.indexOf(threadId)).filter((place) => place !== -1)
  }

  t.test('a run is stored with its signature, which nobody asks for a second time', async (t) => {
    const alice = newcomer()
    const message = messageOf({ signature: 'by a node of ours', clientId: 'm-1' })
    await as(alice, async () => await runs.accept(message))
    await as(alice, async () => await runs.accept({ ...messageOf({ clientId: 'm-1' }), signature: 'another one' }))
    const again = regenerationOf({ threadId: message.threadId, signature: 'of the second run' })
    await as(alice, async () => await runs.regenerate(again))

    t.match(await claim(alice, message.threadId), { runId: message.runId, signature: 'by a node of ours', stopReason: null })
    t.match(await as(alice, async () => await runs.require(again.runId)), { signature: 'of the second run', status: 'queued' })
    await t.rejects(as(alice, async () => await runs.accept(messageOf({ signature: 'a\0b' }))), { code: 'THREADLINE_BAD_REQUEST', field: 'signature' })
  })

  t.test('a run whose lease is over is taken over, once, and its attempt is counted', async (t) => {
    // kill: leave the comparison of `lease_end` out of `claim_next` in lib/storage/migrations/0010-queue.ts
    const alice = newcomer()
    const run = await claimed(alice)
    t.equal(await claim(alice, run.threadId, second), undefined, 'its lease is not over')
    await lapse(alice, run)

    const taking = await Promise.all(Array.from({ length: 12 }, async () => await claim(alice, run.threadId, second)))

    const [taken, ...others] = taking.filter((one) => one !== undefined)
    t.match(taken, { runId: run.runId, attempt: 2, status: 'running', startedAt: run.startedAt })
    t.same(others, [])
  })

  t.test('what a stale attempt still has to say is refused, with the step that it brings', async (t) => {
    // kill: leave the attempt out of `append_events` of lib/storage/migrations/0007-message-tree-end.ts (events), and of 0010-queue-steps.ts (steps)
    const alice = newcomer()
    const stale = await claimed(alice)
    const early = deltaOf(stale)
    await events.append([early])
    await lapse(alice, stale)
    const next = await claim(alice, stale.threadId, second)
    if (next === undefined) throw new Error('Its lease was over')
    const step = { key: 'tool:1', body: 'stale' }

    const refused = await events.append([{ ...deltaOf(stale), step }, deltaOf(next), completionOf(stale), { ...early, step }])

    t.same(refused, [{ refused: active }, { sequence: 2 }, { refused: active }, { sequence: 1 }])
    t.same(await as(alice, async () => await queue.steps(stale.runId)), [])
    t.same(await events.append([{ ...deltaOf(next), step }]), [{ sequence: 3 }])
    t.same(await as(alice, async () => await queue.steps(stale.runId)), [step])
  })

  t.test('a lease is renewed for what the worker still has, and for nothing else', async (t) => {
    // kill: leave the worker or the attempt out of `held` in lib/storage/queue-store.ts
    const [alice, bob] = [newcomer(), newcomer()]
    const [hers, his, lost, ended, foreign] = [await claimed(alice), await claimed(bob), await claimed(alice), await claimed(bob), await claimed(bob, second)]
    await lapse(alice, lost)
    const taken = await claim(alice, lost.threadId, second)
    await events.append([completionOf(ended)])
    await lapse(alice, hers)

    const renewed = await queue.renew(first, [hers, his, lost, ended, foreign, { runId: newRunId(newThreadId()), attempt: 1 }])

    const answer = [hers, his].map(({ runId }) => ({ runId, attempt: 1, stopReason: null }))
    t.same(renewed.toSorted((a, b) => a.runId < b.runId ? -1 : 1), answer.toSorted((a, b) => a.runId < b.runId ? -1 : 1))
    t.equal(await claim(alice, hers.threadId, second), undefined, 'it had not been taken over yet, and is leased again')
    t.same(await queue.renew(second, [{ ...lost, attempt: 1 }]), [])
    t.match(await queue.renew(second, [{ ...lost, attempt: 2 }]), [{ runId: taken?.runId }])
    t.same(await queue.renew(first, []), [])
  })

  t.test('a lease is renewed from the moment on at which that is asked', async (t) => {
    const alice = newcomer()
    const run = await claimed(alice, { worker: 'first', leaseMs: 1 })

    await queue.renew({ worker: 'first', leaseMs: 30_000 }, [run])

    const [row] = await askAs<{ left: number }>('threadline_app', alice.userId, `
      select extract(epoch from lease_until - now())::float as left from threadline.runs where run_id = '${run.runId}'`)
    t.ok(row !== undefined && row.left > 25 && row.left <= 30, String(row?.left))
  })

  t.test('a run that was given back can be taken at once, and not be given back by somebody else', async (t) => {
    // kill: leave the attempt out of `releaseOf` in lib/storage/queue-store.ts; the user stands there and in row-level security (0002), and both have to go
    const [alice, bob] = [newcomer(), newcomer()]
    const run = await claimed(alice)
    await as(bob, async () => { await queue.release(run) })
    await as(alice, async () => { await queue.release({ ...run, attempt: 2 }) })
    t.equal(await claim(alice, run.threadId, second), undefined)

    await as(alice, async () => { await queue.release(run) })

    t.same(await queue.renew(first, [run]), [], 'who gave it back does not have it any more')
    t.same(await claimableOf([run.threadId]), [0])
    t.match(await claim(alice, run.threadId, second), { runId: run.runId, attempt: 2, givenBack: 1 })
    await as(alice, async () => { await queue.release(run) })
    t.match(await queue.renew(second, [{ ...run, attempt: 2 }]), [{ runId: run.runId }], 'a stale attempt gives nothing back')
  })

  t.test('who executes a run hears why it is to stop, and so does who takes it over', async (t) => {
    const alice = newcomer()
    const run = await claimed(alice)
    const ask = async (reason: string, user = alice) => await as(user, async () => await queue.requestStop(run.runId, reason))

    t.equal(await ask('mine now', newcomer()), false)
    t.equal(await ask('cancelled'), true)
    t.equal(await ask('interrupted'), false, 'who asks first says why')
    t.match(await queue.renew(first, [run]), [{ stopReason: 'cancelled' }])
    await lapse(alice, run)
    t.match(await claim(alice, run.threadId, second), { attempt: 2, stopReason: 'cancelled' })
    await t.rejects(ask('a\0b'), { code: 'THREADLINE_BAD_REQUEST' })
    await events.append([completionOf({ ...run, attempt: 2 })])
    t.equal(await ask('cancelled'), false)
    const waiting = messageOf({ threadId: run.threadId })
    await as(alice, async () => await runs.accept(waiting))
    t.equal(await as(alice, async () => await queue.requestStop(waiting.runId, 'cancelled')), false, 'it is not running')
  })

  // kill: `admit_run` (0013) asks for no end.
  for (const [strategy, reason] of [['interrupt', 'interrupted'], ['rollback', 'rolled_back']] as const) {
    t.test(`${strategy}: whoever accepts it need not live on for what stands before it to end`, async (t) => {
      const alice = newcomer()
      const run = await claimed(alice)
      const [waiting, last] = [messageOf({ threadId: run.threadId }), messageOf({ threadId: run.threadId, strategy })]
      const stopReasonOf = async (runId: RunId) => (await as(alice, async () => await runs.require(runId))).stopReason
      await as(alice, async () => await runs.accept(waiting))
      await as(alice, async () => await runs.accept(messageOf({ threadId: run.threadId, strategy: 'enqueue' })))
      t.match(await queue.renew(first, [run]), [{ stopReason: null }])

      await as(alice, async () => await runs.accept(last))

      t.match(await queue.renew(first, [run]), [{ stopReason: reason }], 'its worker hears of it')
      t.equal(await as(alice, async () => await queue.requestStop(run.runId, reason)), true, 'and may be told at once')
      await events.append([completionOf(run)])
      t.match(await claim(alice, run.threadId, first), { runId: waiting.runId, stopReason: reason }, 'who takes what waits hears of it')
      t.equal(await stopReasonOf(last.runId), null)
      const again = regenerationOf({ threadId: run.threadId, strategy })
      await as(alice, async () => await runs.regenerate(again))
      t.equal(await stopReasonOf(last.runId), reason, 'one more answer takes their place as well')
      t.equal(await stopReasonOf(again.runId), null)
    })
  }

  t.test('a thread can be taken when a run waits in it and none is running, or the lease is over', async (t) => {
    const alice = newcomer()
    const threads = [await queued(alice), (await claimed(alice)).threadId, (await claimed(alice)).threadId, newThreadId()]
    await queued(alice, 0, threads[1])
    const lapsed = await claimed(alice)
    const finished = await claimed(alice)
    await lapse(alice, lapsed)
    await events.append([completionOf(finished)])

    t.same(new Set(await claimableOf([...threads, lapsed.threadId, finished.threadId])), new Set([0, 4]))
  })

  t.test('only what has waited for a while is told where that is asked', async (t) => {
    const alice = newcomer()
    const threads = [await queued(alice, 0), await queued(alice, 3)]
    const [fresh, old] = [await claimed(alice), await claimed(alice)]
    await lapse(alice, fresh, 0.1)
    await lapse(alice, old, 5)

    t.same(new Set(await claimableOf([...threads, fresh.threadId, old.threadId], { waitedMs: 2_000 })), new Set([1, 3]))
  })

  t.test('a run is told that was stored before the clock of the database was set back', async (t) => {
    // kill: compare `waits_since` with `now()` where nothing is asked about waiting, in lib/storage/queue-store.ts
    const threads = [await queued(newcomer(), -600)]

    t.same(await claimableOf(threads), [0])
  })

  t.test('a user who has nothing under way comes before one who has, and nobody\'s hundred before somebody\'s first', async (t) => {
    // kill: leave `partition by user_id` or `under_way` out of `claimableThreads` in lib/storage/queue-store.ts
    const [alice, bob, carol] = [newcomer(), newcomer(), newcomer()]
    const hers = await Promise.all(Array.from({ length: 20 }, async (_, index) => await queued(alice, 1_000 - index)))
    const busy = [await claimed(bob), await claimed(bob)]
    const his = [await queued(bob, 2_000), await queued(bob, 1_500)]
    const late = await queued(carol, 0)
    const threads = [...hers, ...his, late]

    // Alice's third stands with Bob's first, since he has two under way, and among these the longest waiting comes first.
    t.same((await claimableOf(threads)).slice(0, 8), [0, 22, 1, 20, 2, 21, 3, 4])
    for (const run of busy) await events.append([completionOf(run)])
    t.same((await claimableOf(threads)).slice(0, 6), [20, 0, 22, 21, 1, 2])
    t.equal((await queue.claimable({ limit: 3 })).length, 3)
  })

  t.test('a run whose row has an id that is none of ours is passed over, counted and told of once, and takes nobody\'s place', async (t) => {
    // kill: `passOver` of lib/storage/unreadable-runs.ts gives back the rows; or, for the places, no `others` in `claimableThreads` of lib/storage/queue-store.ts
    const counts = watchCounters(t)
    const counted = () => counts.filter(({ counter }) => counter === metricDefinitions.refusedSignatures.name).map(({ attributes }) => attributes)
    const logger = createSilentLogger()
    const own = createQueueStore(units, units, new UnreadableRuns({ logger }))
    const [alice, bob] = [newcomer(), newcomer()]
    const [good, other] = [await queued(alice, 10_000), await queued(bob, 20_000)]
    await plant(' nobody ', newThreadId(), 30_000)
    await plant(' nobody ', newThreadId(), 30_000)
    await plant('nobody\u2028else', newThreadId(), 30_000)
    await plant(newcomer().userId, '00000000-0000-0000-0000-000000000000', 30_000)
    await past(`update threadline.runs set run_id = 'run_${other}_of-nobody' where thread_id = '${other}'`)

    t.match(await own.claimable({ limit: 1 }), [{ userId: alice.userId, threadId: good }])
    t.match(await own.claimable({ limit: 1 }), [{ userId: alice.userId, threadId: good }])

    t.equal(counted().length, 4, 'each user once, and each thread of others')
    t.match(counted()[0], { audience: 'run', reason: 'malformed' })
    t.match(logger.lines, [{ level: 'error', message: /none of ours/ }])
    t.equal(logger.lines.length, 1)
    t.ok((await runs.recoverable()).some(({ threadId }) => threadId === good), 'whoever begins anew goes on with the others, too')
  })

  t.test('what was put right is found again after a while', async (t) => {
    // kill: no `forgetOld` in `claimable` of lib/storage/queue-store.ts
    const own = createQueueStore(units, units, new UnreadableRuns({ forgetMs: 0 }))
    const threadId = newThreadId()
    const runId = await plant(newcomer().userId, threadId, 40_000, 'of-nobody')
    t.notOk((await own.claimable({ limit: 1_000 })).some((thread) => thread.threadId === threadId))

    await past(`update threadline.runs set run_id = '${newRunId(threadId)}' where run_id = '${runId}'`)

    t.ok((await own.claimable({ limit: 1_000 })).some((thread) => thread.threadId === threadId))
  })

  t.test('the depth of the queue counts everybody\'s', async (t) => {
    const before = await queue.depth()
    await queued(newcomer())
    await claimed(newcomer())

    t.same(await queue.depth(), { queued: before.queued + 1, running: before.running + 1 })
  })

  t.test('steps are kept in their order until the run ends, the first of each key', async (t) => {
    // kill: leave the deletion out of `end_run`, or `do nothing` out of the append, in lib/storage/migrations/0010-queue-steps.ts
    const alice = newcomer()
    const run = await runningRun(storage, alice)
    const steps = [{ key: 'model:/0', body: { text: 'zero \0 and half \ud83d', calls: [] } }, { key: 'tool:1', body: null }]
    const steady = async () => await as(alice, async () => await queue.steps(run.runId))
    const executing = { ...eventOf(run, 'tool_executing', { tool_call_id: '1', tool: 'x', parameters: {} }), step: steps[0] }

    await events.append([executing])
    await events.append([executing, { ...deltaOf(run), step: steps[1] }, { ...deltaOf(run), step: { key: 'tool:1', body: 'again' } }, deltaOf(run)])

    t.same(await steady(), steps)
    t.same(await as(newcomer(), async () => await queue.steps(run.runId)), [])
    const late = { ...deltaOf(run), step: { key: 'tool:2', body: 1 } }
    t.same(await events.append([{ ...deltaOf(run), step: { key: 'tool:3', body: 1 } }, completionOf(run), late]), [{ sequence: 5 }, { sequence: 6 }, { refused: active }])
    t.same(await steady(), [], 'also those that came with the end')
    await events.append([executing])
    t.same(await steady(), [], 'an event that comes again after the end brings no step back')
  })

  t.test('a run of another user, or of none, takes no steps', async (t) => {
    const [alice, bob] = [newcomer(), newcomer()]
    const run = await runningRun(storage, alice)
    const step = { key: 'tool:1', body: 'his' }

    t.same(await events.append([{ ...deltaOf({ ...run, userId: bob.userId }), step }, { ...deltaOf({ ...run, runId: newRunId(run.threadId) }), step }]), [
      { refused: 'thread-not-found' }, { refused: active }
    ])
    t.same(await as(alice, async () => await queue.steps(run.runId)), [])
  })

  t.test('a run that a version without leases has claimed can be taken over, when it cannot go on any more', async (t) => {
    // kill: leave `coalesce` out of `lease_end` in lib/storage/migrations/0010-queue.ts
    const alice = newcomer()
    const threadId = await queued(alice)
    await change(alice, `set local role threadline_app; select run_id from threadline.claim_next('${threadId}')`)
    const [run] = await as(alice, async () => await runs.unfinished(threadId))

    t.equal(await claim(alice, threadId, second), undefined)
    t.same(await claimableOf([threadId]), [])
    await change(alice, `update threadline.runs set started_at = now() - interval '11 minutes' where run_id = '${run?.runId}'`)
    t.same(await claimableOf([threadId]), [0])
    t.match(await claim(alice, threadId, second), { attempt: 2 })
  })

  t.test('the position of each thread is told for its user, in one answer', async (t) => {
    // kill: leave the user out of `positionsOf` in lib/storage/event-store.ts
    const [alice, bob] = [newcomer(), newcomer()]
    const [hers, his, removed] = [await claimed(alice), await claimed(bob), await claimed(bob)]
    await events.append([deltaOf(hers), deltaOf(hers), deltaOf(his), deltaOf(removed)])
    await as(bob, async () => { await storage.threads.remove(removed.threadId) })
    const unknown = newThreadId()

    const positions = await events.positions([
      { userId: alice.userId, threadId: hers.threadId }, { userId: bob.userId, threadId: his.threadId },
      { userId: bob.userId, threadId: removed.threadId }, { userId: alice.userId, threadId: unknown }
    ])

    t.same([...positions].toSorted(([, one], [, other]) => other.sequence - one.sequence), [
      [hers.threadId, { userId: alice.userId, sequence: 2 }], [his.threadId, { userId: bob.userId, sequence: 1 }]
    ])
    t.same((await events.positions([{ userId: bob.userId, threadId: hers.threadId }])).size, 0)
    t.equal((await events.positions([])).size, 0)
  })
})
