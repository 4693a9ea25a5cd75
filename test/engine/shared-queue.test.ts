import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { defineAgent } from '../../lib/agents/define-agent.ts'
import { createIdentity, type Identity } from '../../lib/context/identity.ts'
import { ThreadlineError } from '../../lib/errors.ts'
import { createInProcessHub } from '../../lib/events/in-process-bus.ts'
import type { RunRecord } from '../../lib/stores/run-record.ts'
import type { Storage } from '../../lib/stores/storage.ts'
import { createArrivals } from '../support/arrivals.ts'
import { enqueue, startNode, untilRun, type EngineNode } from '../support/engine-nodes.ts'
import { createGatedAgent } from '../support/gated-agent.ts'
import { as, newcomer, onEachDatabase } from '../support/storage-databases.ts'
import { readThread } from '../support/stored-thread.ts'
import { within } from '../support/within.ts'

const idle = { sessions: 0, runs: 0, slotsTaken: 0, waiting: 0 }
const ended = ({ finishedAt }: RunRecord): boolean => finishedAt !== null
/** Longer than any test: nothing is taken over because its time is over. */
const longMs = 600_000

/** Whichever node begins to answer the message. */
async function whoever (nodes: readonly EngineNode[], content: string) {
  return await Promise.race(nodes.map(async (node) => ({ node, halt: await node.halted.next((run) => run.content === content) })))
}

/** What the thread was told of the beginnings and ends of its runs. */
async function storyOf (storage: Storage, user: Identity, { threadId }: RunRecord): Promise<readonly string[]> {
  const { events } = await readThread(storage, user.userId, threadId)
  return events.flatMap(({ type, payload }) => {
    if (type === 'agent_started' || type === 'agent_resumed') return [type]
    return type === 'agent_completed' && 'status' in payload ? [`${payload.status} ${payload.reason ?? ''}`.trim()] : []
  })
}

/** Until the workers have taken so many runs that wait for a slot. */
async function untilWaiting (workers: readonly EngineNode[], count: number): Promise<void> {
  while (workers.reduce((sum, { engine }) => sum + engine.load.waiting, 0) < count) await turn()
}

onEachDatabase(t, async (t, { storage }) => {
  t.test('a run that was queued on a node that executes nothing is executed by a worker, at once', async (t) => {
    // kill: no `announcer.announce()` in `launch` of lib/engine/engine.ts
    const hub = createInProcessHub()
    const [gateway, worker] = [await startNode(t, storage, hub, { executes: false }), await startNode(t, storage, hub, { pollIntervalMs: longMs })]
    const user = newcomer('announced')
    const { thread, run } = await enqueue(storage, user, { content: 'announced' })

    as(thread, () => { gateway.engine.launch() })
    const halt = await worker.halted.next()
    halt.goOn()
    await as(thread, async () => { await gateway.engine.idle(30_000) })

    t.match(await as(user, async () => await storage.runs.require(run.runId)), { status: 'completed', attempt: 1 })
    t.same(gateway.engine.load, idle)
  })

  t.test('a run that nobody was told of is found by a worker', async (t) => {
    const worker = await startNode(t, storage, createInProcessHub())
    const user = newcomer('found')

    const { run } = await enqueue(storage, user, { content: 'found' })
    const halt = await worker.halted.next()
    halt.goOn()

    t.match(await untilRun(storage, user, run, ended), { status: 'completed' })
  })

  t.test('a run whose worker is heard of no more goes on elsewhere when its lease is over, and the stale worker can write nothing', async (t) => {
    // kill: no `attempt` in `append_events`, or `claim_next`, of lib/storage/migrations; seen as well with `silencedBy` alone
    const hub = createInProcessHub()
    const stale = await startNode(t, storage, hub, { leaseMs: 400, hasPeers: false }) // it does not renew its leases, and does not know that it should
    const user = newcomer('stale')
    const { thread, run } = await enqueue(storage, user, { content: 'hello' })
    as(thread, () => { stale.engine.launch() })
    const old = await stale.halted.next()

    const fresh = await startNode(t, storage, hub, { leaseMs: longMs })
    const halt = await fresh.halted.next()
    old.goOn(', which nobody must hear')
    await as(thread, async () => { await stale.engine.idle(30_000) })
    const between = await as(user, async () => await storage.runs.require(run.runId))
    halt.goOn()
    const last = await untilRun(storage, user, run, ended)

    t.match([between, last], [{ status: 'running', attempt: 2 }, { status: 'completed', attempt: 2 }])
    t.match(old.signal.reason, { code: 'THREADLINE_CONFLICT' })
    t.same(await storyOf(storage, user, run), ['agent_started', 'agent_resumed', 'completed'])
    const { messages, events } = await readThread(storage, user.userId, run.threadId)
    t.same(messages.map(({ content }) => content), ['hello', 'hello: so far, and the rest'])
    t.notOk(JSON.stringify(events).includes('nobody must hear'))
    t.same(stale.engine.load, idle)
  })

  t.test('a worker that cannot renew its leases gives its runs up in silence, and keeps them while it can', async (t) => {
    // kill: no `#lose` in the `catch` of `#renew` of lib/queue/lease-keeper.ts
    const hub = createInProcessHub()
    const renewals = createArrivals<boolean>()
    let away = false
    const reach = (): void => { if (away) throw new ThreadlineError('THREADLINE_STORAGE_UNAVAILABLE') }
    const cut = await startNode(t, {
      ...storage,
      runs: { ...storage.runs, claimNext: async (...asked) => { reach(); return await storage.runs.claimNext(...asked) } },
      queue: {
        ...storage.queue,
        claimable: async (...asked) => { reach(); return await storage.queue.claimable(...asked) },
        renew: async (...asked) => { renewals.push(away); reach(); return await storage.queue.renew(...asked) }
      }
    }, hub, { leaseMs: 600 })
    const user = newcomer('cut')
    const { thread, run } = await enqueue(storage, user, { content: 'hello' })
    as(thread, () => { cut.engine.launch() })
    const old = await cut.halted.next()
    const other = await startNode(t, storage, hub, { leaseMs: longMs })

    for (let renewed = 0; renewed < 6; renewed += 1) await renewals.next() // twice its lease
    const kept = await as(user, async () => await storage.runs.require(run.runId))
    away = true
    const halt = await other.halted.next()
    if (!old.signal.aborted) await within('the run to be given up', once(old.signal, 'abort')) // it may find out after the other has begun
    away = false
    halt.goOn()
    await untilRun(storage, user, run, ended)
    await as(thread, async () => { await cut.engine.idle(30_000) })

    t.match(kept, { attempt: 1 })
    t.match(old.signal.reason, { code: 'THREADLINE_CONFLICT', how: 'lost' })
    t.same(await storyOf(storage, user, run), ['agent_started', 'agent_resumed', 'completed'])
    t.same(cut.engine.load, idle)
  })

  for (const [how, cut] of [['by a message', false], ['by the next heartbeat when messages are lost', true]] as const) {
    t.test(`a run is stopped from a node that does not execute it, ${how}`, async (t) => {
      // kill: no `tellStop` in `stopOne` of lib/engine/stop-runs.ts; for the second, no `held.stop` in lib/queue/lease-keeper.ts
      const hub = createInProcessHub()
      const [gateway, worker] = [await startNode(t, storage, hub, { executes: false }), await startNode(t, storage, hub, { leaseMs: cut ? 600 : longMs })]
      const user = newcomer('stopped')
      const { thread, run } = await enqueue(storage, user, { content: 'hello' })
      as(thread, () => { gateway.engine.launch() })
      const halt = await worker.halted.next()
      const waiting = await enqueue(storage, user, { content: 'waits', threadId: run.threadId })
      const stopping = cut ? await startNode(t, storage, createInProcessHub(), { executes: false }) : gateway

      const stopped = await as(thread, async () => await stopping.engine.stop({ reason: 'cancelled' }))
      const again = await as(thread, async () => await stopping.engine.stop({ runId: run.runId, reason: 'interrupted' }))
      await as(thread, async () => { await gateway.engine.idle(30_000) })

      t.same(stopped, [run.runId, waiting.run.runId])
      t.same(again, [], 'who stops first says how it ends')
      t.match(halt.signal.reason, { stopReason: 'cancelled' })
      t.same(await storyOf(storage, user, run), ['agent_started', 'cancelled cancelled', 'cancelled cancelled'])
      t.same(worker.halted.waiting, [])
    })
  }

  t.test('a newer message takes the place of a run on another node, which executes the newer one then', async (t) => {
    const hub = createInProcessHub()
    const [gateway, worker] = [await startNode(t, storage, hub, { executes: false }), await startNode(t, storage, hub)]
    const user = newcomer('interrupted')
    const { thread, run } = await enqueue(storage, user, { content: 'old' })
    as(thread, () => { gateway.engine.launch() })
    await worker.halted.next()
    const newer = await enqueue(storage, user, { content: 'newer', threadId: run.threadId, strategy: 'rollback' })

    as(thread, () => { gateway.engine.launch() })
    const stopped = await as(thread, async () => await gateway.engine.stop({ before: newer.run.runId, reason: 'rolled_back' }))
    const halt = await worker.halted.next()
    halt.goOn()
    await untilRun(storage, user, newer.run, ended)

    t.same(stopped, [run.runId])
    t.same(await storyOf(storage, user, run), ['agent_started', 'cancelled rolled_back', 'agent_started', 'completed'])
    const { messages } = await readThread(storage, user.userId, run.threadId)
    t.same(messages.map(({ content }) => content), ['newer', 'newer: so far, and the rest'])
  })

  t.test('what was stopped while nobody executed it is not gone on with', async (t) => {
    // kill: no `run.stopReason` in `performClaimed` of lib/engine/claimed-run.ts
    const hub = createInProcessHub()
    const gateway = await startNode(t, storage, hub, { executes: false })
    const user = newcomer('orphaned')
    const { thread, run } = await enqueue(storage, user)
    await as(user, async () => await storage.runs.claimNext(run.threadId, { worker: 'died', leaseMs: 300 }))

    const stopped = await as(thread, async () => await gateway.engine.stop({ reason: 'cancelled' }))
    const worker = await startNode(t, storage, hub)
    const last = await untilRun(storage, user, run, ended)

    t.same(stopped, [run.runId])
    t.match(last, { status: 'cancelled', attempt: 2 })
    t.same(worker.halted.waiting, [])
  })

  t.test('all runs of a user are stopped, on whatever nodes, and those of others go on', async (t) => {
    const hub = createInProcessHub()
    const [gateway, one, two] = [await startNode(t, storage, hub, { executes: false }), await startNode(t, storage, hub), await startNode(t, storage, hub)]
    const [user, other] = [newcomer('erased'), newcomer('other')]
    const first = await enqueue(storage, user, { content: 'first' })
    as(first.thread, () => { one.engine.launch() })
    const second = await enqueue(storage, user, { content: 'second' })
    as(second.thread, () => { two.engine.launch() })
    const others = await enqueue(storage, other, { content: 'others' })
    as(others.thread, () => { two.engine.launch() })
    await Promise.all([one.halted.next(), two.halted.next(({ content }) => content === 'second')])
    const halt = await two.halted.next(({ content }) => content === 'others')

    await as(createIdentity({ userId: user.userId }), async () => { await gateway.engine.stopUser(30_000) })
    const stored = await Promise.all([first, second].map(async ({ run }) => await as(user, async () => await storage.runs.require(run.runId))))

    t.match(stored, [{ status: 'cancelled' }, { status: 'cancelled' }])
    t.equal(halt.signal.aborted, false)
    halt.goOn()
    t.match(await untilRun(storage, other, others.run, ended), { status: 'completed' })
  })

  t.test('a worker that ends leaves its runs to another, which goes on at once, and what waited behind them too', async (t) => {
    // kill: no `release` in `leave` of lib/engine/claimed-run.ts, so that the other waits for the end of the lease
    const hub = createInProcessHub()
    const ending = await startNode(t, storage, hub, { leaseMs: longMs })
    const user = newcomer('drained')
    const { thread, run } = await enqueue(storage, user, { content: 'hello' })
    as(thread, () => { ending.engine.launch() })
    const old = await ending.halted.next()
    const behind = await enqueue(storage, user, { content: 'behind', threadId: run.threadId })
    const other = await startNode(t, storage, hub, { leaseMs: longMs, pollIntervalMs: longMs })

    await ending.engine.close(0)
    const halt = await other.halted.next()
    halt.goOn()
    const next = await other.halted.next()
    next.goOn()
    await untilRun(storage, user, behind.run, ended)

    t.match(old.signal.reason, { how: 'given_back' })
    t.same(await storyOf(storage, user, run), ['agent_started', 'agent_resumed', 'completed', 'agent_started', 'completed'])
    t.same(ending.engine.load, idle)
  })

  t.test('a worker that ends takes nothing more', async (t) => {
    // kill: no `closing.aborted` in `claim` of lib/engine/thread-loops.ts
    const hub = createInProcessHub()
    const ending = await startNode(t, storage, hub)
    const user = newcomer('draining')
    const { thread, run } = await enqueue(storage, user, { content: 'hello' })
    as(thread, () => { ending.engine.launch() })
    const halt = await ending.halted.next()
    const [behind, elsewhere] = [await enqueue(storage, user, { threadId: run.threadId }), await enqueue(storage, user)]

    const closed = ending.engine.close(30_000)
    as(elsewhere.thread, () => { ending.engine.launch() })
    halt.goOn()
    await closed

    const stored = await Promise.all([run, behind.run, elsewhere.run].map(async ({ runId }) => await as(user, async () => await storage.runs.require(runId))))
    t.match(stored, [{ status: 'completed' }, { status: 'queued' }, { status: 'queued' }])
    for (const { run: left, thread: leftThread } of [behind, elsewhere]) {
      await as(leftThread, async () => { await (await startNode(t, storage, hub, { executes: false })).engine.stop({ runId: left.runId, reason: 'cancelled' }) })
    }
  })

  t.test('a run that was taken over too often ends', async (t) => {
    const hub = createInProcessHub()
    const user = newcomer('restarted')
    const { run } = await enqueue(storage, user)
    for (const worker of ['first', 'second']) {
      let taken: RunRecord | undefined
      while (taken === undefined) taken = await as(user, async () => await storage.runs.claimNext(run.threadId, { worker, leaseMs: 1 }))
    }

    const worker = await startNode(t, storage, hub, { maxRunAttempts: 2 })
    const last = await untilRun(storage, user, run, ended)

    t.match(last, { status: 'failed', attempt: 3 })
    t.same(await storyOf(storage, user, run), ['failed server_restarted'])
    t.same(worker.halted.waiting, [])
  })

  t.test('a run that a lone process has left by its death is begun no more often than is allowed', async (t) => {
    // kill: no `inVain` in `giveBackUnknown` of lib/engine/doubtful-runs.ts, so that what brings the process down does so after every start
    const user = newcomer('deadly')
    const { run } = await enqueue(storage, user, { content: 'deadly' })
    await as(user, async () => await storage.runs.claimNext(run.threadId, { worker: 'dead', leaseMs: longMs }))

    const alone = await startNode(t, storage, createInProcessHub(), { hasPeers: false, maxRunAttempts: 1 })
    const last = await untilRun(storage, user, run, (stored) => ended(stored) || alone.halted.waiting.length > 0)

    t.match(last, { status: 'failed', attempt: 2, givenBack: 0 })
    t.same(await storyOf(storage, user, run), ['failed server_restarted'])
  })

  t.test('a run that was given back, however often, goes on', async (t) => {
    // kill: no `given_back` in `releaseOf` of lib/storage/queue-store.ts, so that a run ends that has lived through as many restarts
    const hub = createInProcessHub()
    const user = newcomer('handed on')
    const { run } = await enqueue(storage, user)
    for (const worker of ['first', 'second', 'third']) {
      const taken = await as(user, async () => await storage.runs.claimNext(run.threadId, { worker, leaseMs: longMs }))
      await as(user, async () => { await storage.queue.release({ runId: run.runId, attempt: taken?.attempt ?? 0 }) })
    }

    const worker = await startNode(t, storage, hub, { maxRunAttempts: 1 })
    const halt = await whoever([worker], run.input)
    halt.halt.goOn()
    const last = await untilRun(storage, user, run, ended)

    t.match(last, { status: 'completed', attempt: 4, givenBack: 3 })
  })

  t.test('two workers share the work: each as much as it has room for, and no run twice', async (t) => {
    const hub = createInProcessHub()
    const gateway = await startNode(t, storage, hub, { executes: false })
    const workers = [await startNode(t, storage, hub, { slots: 2 }), await startNode(t, storage, hub, { slots: 2 })]
    const user = newcomer('shared')
    const contents = ['one', 'two', 'three', 'four']
    const queued = await Promise.all(contents.map(async (content) => await enqueue(storage, user, { content })))

    for (const { thread } of queued) as(thread, () => { gateway.engine.launch() })
    const begun = await Promise.all(contents.map(async (content) => await whoever(workers, content)))
    const loads = workers.map(({ engine }) => engine.load.slotsTaken)
    for (const { halt } of begun) halt.goOn()
    const last = await Promise.all(queued.map(async ({ run }) => await untilRun(storage, user, run, ended)))

    t.same(loads, [2, 2])
    t.same(last.map(({ status, attempt }) => [status, attempt]), contents.map(() => ['completed', 1]))
  })

  for (const count of [1, 2]) {
    t.test(`a hundred runs of one user do not delay another's first, on ${count === 1 ? 'one worker' : 'two workers'}`, async (t) => {
      // kill: `const user = undefined` in `acquire` of lib/engine/slots.ts; for two workers, no `this.#ended` in `places` of lib/queue/queue-poller.ts
      const hub = createInProcessHub()
      const order: string[] = []
      const begun = createArrivals<string>()
      const agent = defineAgent({
        name: 'brief',
        async * run ({ content }) {
          order.push(content)
          begun.push(content)
          yield { type: 'thinking', message: 'That is all' }
        }
      })
      const gated = createGatedAgent()
      const workers: EngineNode[] = []
      for (let number = 0; number < count; number += 1) {
        workers.push(await startNode(t, storage, hub, { slots: 1, hasPeers: count > 1, agents: [agent, gated.agent] }))
      }
      const [busy, other] = [newcomer('busy'), newcomer('other')]
      const gates = workers.map((_worker, number) => `gate ${number}`)
      for (const [number, content] of gates.entries()) {
        const { thread } = await enqueue(storage, busy, { content, agent: 'gated' })
        as(thread, () => { workers[number]?.engine.launch() })
        await gated.arrived.next()
      }
      const hundred = await Promise.all(Array.from({ length: 100 }, async (_run, number) => await enqueue(storage, busy, { content: `busy ${number}`, agent: 'brief' })))
      for (const [number, { thread }] of hundred.entries()) as(thread, () => { workers[number % count]?.engine.launch() })
      await untilWaiting(workers, 100)
      const first = await enqueue(storage, other, { content: 'other', agent: 'brief' })
      as(first.thread, () => { workers[0]?.engine.launch() })

      for (const gate of gates) gated.open(gate)
      for (let ran = 0; ran < 101; ran += 1) await begun.next()

      t.equal(order.length, 101)
      t.ok(order.indexOf('other') <= 20, `it was number ${order.indexOf('other')}`)
    })
  }
})
