import t from 'tap'
import { createAgentRegistry } from '../../lib/agents/agent-registry.ts'
import { defineAgent } from '../../lib/agents/define-agent.ts'
import { enterThread } from '../../lib/context/current-thread.ts'
import type { RunIdentity } from '../../lib/context/identity.ts'
import { createEngine } from '../../lib/engine/engine.ts'
import { Slots } from '../../lib/engine/slots.ts'
import { createModelRegistry } from '../../lib/models/model-registry.ts'
import { newMessageId } from '../../lib/protocol/ids.ts'
import type { MessageStore, OpenTool, RunRecord, RunStore } from '../../lib/storage/storage.ts'
import { newRun } from '../support/identities.ts'
import { createRecordingLog } from '../support/recording-log.ts'
import { createSilentLogger } from '../support/silent-logger.ts'

function recordOf ({ runId, threadId, userId, requestId }: RunIdentity): RunRecord {
  return {
    runId, threadId, userId, requestId, messageId: newMessageId(), connectionId: null, agent: 'slow', input: 'hello', context: {},
    status: 'running', attempt: 1, traceparent: null, createdAt: '', startedAt: null, finishedAt: null, error: null
  }
}

/** An engine over a queue that gives out each run when the test says so. */
function createQueuedEngine (claims: Promise<RunRecord>[], unfinished: readonly RunRecord[], openTools: readonly OpenTool[] = []) {
  const log = createRecordingLog()
  const worked: string[] = []
  const agent = defineAgent({
    name: 'slow',
    async * run ({ signal }) {
      worked.push('started')
      await new Promise((_resolve, reject) => { signal.addEventListener('abort', () => { reject(signal.reason as Error) }) })
      yield { type: 'text', text: 'never' }
    }
  })
  // Only what the engine asks of the stores; a call of anything else fails.
  const runs = {
    claimNext: async () => await claims.shift(),
    unfinished: async () => unfinished,
    require: async () => unfinished[0],
    openTools: async () => openTools,
    recoverable: async () => unfinished
  } as unknown as RunStore
  const messages = { history: async () => ({ messages: [], hasMore: false }) } as unknown as MessageStore
  const engine = createEngine({
    runs,
    messages,
    agents: createAgentRegistry({ agents: [agent], models: createModelRegistry({ model: 'local' }) }),
    log: { ...log, append: log.append, follow: () => () => {}, read: async () => [], followed: 0, close: async () => {} },
    slots: new Slots(1),
    logger: createSilentLogger(),
    runTimeoutMs: 60_000,
    stepTimeoutMs: 60_000,
    toolTimeoutMs: 1_000,
    stepLimit: 1,
    waitNoticeMs: 60_000
  })
  return { engine, log, worked }
}

t.test('a run that is stopped after the database gave it out and before the engine knows ends as cancelled, without having worked', async (t) => {
  const identity = newRun('alice')
  const run = recordOf(identity)
  const claim = Promise.withResolvers<RunRecord>()
  const { engine, log, worked } = createQueuedEngine([claim.promise], [run])

  enterThread(identity, () => { engine.launch() })
  const stopped = await enterThread(identity, () => engine.stop({ runId: run.runId, reason: 'cancelled' }))
  claim.resolve(run)
  await engine.close(60_000)

  t.same(stopped, [run.runId])
  t.same(log.types, ['agent_started', 'agent_completed'])
  t.match(log.events.at(-1)?.payload, { status: 'cancelled', reason: 'cancelled' })
  t.same(worked, [])
  t.same(engine.load, { sessions: 0, runs: 0, slotsTaken: 0, waiting: 0 })
})

t.test('closing lets runs end, and stops those that do not within the grace', async (t) => {
  const identity = newRun('alice')
  const { engine, log } = createQueuedEngine([Promise.resolve(recordOf(identity))], [])

  enterThread(identity, () => { engine.launch() })
  await engine.close(1)

  t.match(log.events.at(-1), { type: 'agent_completed', payload: { status: 'failed', reason: 'server_stopped' } })
  t.same(engine.load, { sessions: 0, runs: 0, slotsTaken: 0, waiting: 0 })
})

t.test('a run of the last process that cannot be ended does not hinder the others', async (t) => {
  const [one, other] = [newRun('alice'), newRun('bob')]
  const { engine, log } = createQueuedEngine([], [{ ...recordOf(one), agent: 'slow', threadId: other.threadId }, recordOf(other)])

  await engine.recover()

  t.same(log.events.map(({ user_id: userId, type }) => [userId, type]), [['bob', 'agent_completed']])
  t.match(log.events[0]?.payload, { status: 'failed', reason: 'server_restarted' })
})

t.test('a run whose claim was never answered is ended, and the thread goes on', async (t) => {
  // kill: `session.doubtful = true` in `claim` of lib/engine/thread-loops.ts
  const identity = newRun('alice')
  const lost = recordOf(identity)
  const { engine, log } = createQueuedEngine([Promise.reject(new Error('the connection broke'))], [lost])

  enterThread(identity, () => { engine.launch() })
  await enterThread(identity, () => engine.idle(30_000))

  t.match(log.events, [{ type: 'agent_completed', run_id: lost.runId, payload: { status: 'failed', reason: 'storage_failed' } }])
  t.equal(log.events.length, 1)
  t.same(engine.load, { sessions: 0, runs: 0, slotsTaken: 0, waiting: 0 })
})
