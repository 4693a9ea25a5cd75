import t, { type Test } from 'tap'
import { createAgentRegistry } from '../../lib/agents/agent-registry.ts'
import { createIdentity, type Identity } from '../../lib/context/identity.ts'
import { createEngine, type Engine } from '../../lib/engine/engine.ts'
import { enterRun } from '../../lib/engine/enter-run.ts'
import { Slots } from '../../lib/engine/slots.ts'
import { createStoredEventLog } from '../../lib/events/stored-event-log.ts'
import { createModelRegistry } from '../../lib/models/model-registry.ts'
import { newRequestId, type ThreadId } from '../../lib/protocol/ids.ts'
import type { Storage } from '../../lib/stores/storage.ts'
import { alone, patientLimits, signed, testSigner } from '../support/engine-parts.ts'
import { createHaltingAgent, type HaltingAgent } from '../support/halting-agent.ts'
import { createSilentLogger } from '../support/silent-logger.ts'
import { as, completionOf, messageOf, newcomer, onEachDatabase } from '../support/storage-databases.ts'
import { readThread } from '../support/stored-thread.ts'

interface Worker extends Pick<HaltingAgent, 'halted'> {
  readonly engine: Engine
  readonly logger: ReturnType<typeof createSilentLogger>
}

/** An engine with a log of its own over a storage that it shares with others, as a process of its own would have. */
function createWorker (t: Test, storage: Storage): Worker {
  const { agent, halted } = createHaltingAgent()
  const logger = createSilentLogger()
  const log = createStoredEventLog({ store: storage.events, epoch: storage.epoch, logger })
  const engine = createEngine({
    ...alone(storage.queue, { lease: { worker: newRequestId(), leaseMs: 60_000 } }),
    runs: storage.runs,
    threads: storage.threads,
    messages: storage.messages,
    agents: createAgentRegistry({ agents: [agent], models: createModelRegistry({ model: 'local' }) }),
    log,
    slots: new Slots(4),
    logger,
    ...patientLimits
  })
  t.teardown(async () => {
    await engine.close(0)
    await log.close()
  })
  return { engine, halted, logger }
}

/** A message that the worker has begun to answer. */
async function begin ({ engine, halted }: Worker, storage: Storage, user: Identity, content: string, threadId?: ThreadId) {
  const message = signed(user, messageOf({ content, agent: 'halting', ...(threadId === undefined ? {} : { threadId }) }))
  const thread = createIdentity({ userId: user.userId, threadId: message.threadId })
  await as(user, async () => await storage.runs.accept(message))
  as(thread, () => { engine.launch() })
  const halt = await halted.next((run) => run.content === content)
  return { thread, halt, run: await as(user, async () => await storage.runs.require(message.runId)) }
}

onEachDatabase(t, async (t, { storage }) => {
  // kill: no `run.status = 'queued' or run.status = 'running'` in `append_events` of lib/storage/migrations/0007-message-tree-end.ts; or, for the
  // newer run, `session.doubtful = true` where `executeRun` in lib/engine/thread-loops.ts gives undefined
  for (const [outcome, rest] of [['goes on', ' and on'], ['comes to its end', '']]) {
    t.test(`a worker whose run was ended by another one ${outcome}, and can neither tell anything nor touch the newer run`, async (t) => {
      const user = newcomer('stale')
      const [stale, fresh] = [createWorker(t, storage), createWorker(t, storage)]
      const old = await begin(stale, storage, user, 'old')

      await enterRun(old.run, testSigner, async () => await storage.events.append([completionOf(old.run, { status: 'cancelled', reason: 'cancelled' })]))
      const newer = await begin(fresh, storage, user, 'newer', old.run.threadId)
      old.halt.goOn(rest)
      await as(old.thread, async () => { await stale.engine.idle(30_000) })
      const between = await as(user, async () => await storage.runs.require(newer.run.runId))
      newer.halt.goOn()
      await as(newer.thread, async () => { await fresh.engine.idle(30_000) })

      t.match(old.halt.signal.reason, { code: 'THREADLINE_CONFLICT' })
      t.equal(between.status, 'running')
      const { runs, messages, events } = await readThread(storage, user.userId, old.run.threadId)
      t.same(runs.map(({ input, status }) => [input, status]), [['newer', 'completed'], ['old', 'cancelled']])
      t.same(events.flatMap(({ type, run_id: runId, payload }) => type === 'agent_completed' && 'status' in payload ? [[runId, payload.status]] : []),
        [[old.run.runId, 'cancelled'], [newer.run.runId, 'completed']])
      t.same(messages.map(({ content }) => content), ['old', 'newer', 'newer: so far, and the rest'])
      t.same(stale.logger.lines.filter(({ level }) => level === 'error'), [])
      for (const { engine } of [stale, fresh]) t.same(engine.load, { sessions: 0, runs: 0, slotsTaken: 0, waiting: 0 })
    })
  }

  t.test('a run whose thread is deleted, or whose user is erased, is aborted with the next thing that it tells', async (t) => {
    // kill: no `THREADLINE_THREAD_NOT_FOUND` in `isRefusal` of lib/emitter/run-log.ts
    const worker = createWorker(t, storage)
    const gone = [
      async (threadId: ThreadId) => { await storage.threads.remove(threadId) },
      async () => { await storage.account.erase() }
    ]

    for (const remove of gone) {
      const user = newcomer('gone')
      const { halt, thread, run } = await begin(worker, storage, user, 'hello')
      await as(user, async () => { await remove(run.threadId) })
      halt.goOn()
      await as(thread, async () => { await worker.engine.idle(30_000) })

      t.match(halt.signal.reason, { code: 'THREADLINE_THREAD_NOT_FOUND' })
    }
    t.same(worker.logger.lines.filter(({ level }) => level === 'error'), [])
    t.same(worker.engine.load, { sessions: 0, runs: 0, slotsTaken: 0, waiting: 0 })
  })
})
