import { once } from 'node:events'
import t from 'tap'
import { createAgentRegistry } from '../../lib/agents/agent-registry.ts'
import { defineAgent } from '../../lib/agents/define-agent.ts'
import { signCarrier } from '../../lib/context/carrier.ts'
import { currentRun, enterThread, tryCurrentThread } from '../../lib/context/current-thread.ts'
import { createIdentity, createRunIdentity, type RunIdentity } from '../../lib/context/identity.ts'
import { createEngine } from '../../lib/engine/engine.ts'
import { Slots } from '../../lib/engine/slots.ts'
import { ThreadlineError } from '../../lib/errors.ts'
import { createModelRegistry } from '../../lib/models/model-registry.ts'
import type { NewThreadEvent, ThreadEvent } from '../../lib/protocol/events.ts'
import { newMessageId, newRunId, type RunId, type ThreadId, type UserId } from '../../lib/protocol/ids.ts'
import type { MessageStore } from '../../lib/stores/message-store.ts'
import type { LeasedRun, QueueStore } from '../../lib/stores/queue-store.ts'
import type { RunRecord } from '../../lib/stores/run-record.ts'
import type { OpenTool, RunStore } from '../../lib/stores/run-store.ts'
import type { ThreadStore } from '../../lib/stores/thread-store.ts'
import { createArrivals } from '../support/arrivals.ts'
import { alone, testSigner } from '../support/engine-parts.ts'
import { newRun } from '../support/identities.ts'
import { createRecordingLog } from '../support/recording-log.ts'
import { createSilentLogger } from '../support/silent-logger.ts'

function recordOf ({ runId, threadId, userId, requestId }: RunIdentity): RunRecord {
  return {
    runId, threadId, userId, requestId, messageId: newMessageId(), connectionId: null, agent: 'slow', input: 'hello', context: {},
    status: 'running', attempt: 1, givenBack: 0, traceparent: null, createdAt: '', startedAt: null, finishedAt: null, error: null, stopReason: null,
    signature: signCarrier(testSigner, { runId, threadId, userId, requestId, connectionId: undefined, traceparent: undefined })
  }
}

function queued ({ userId, threadId }: RunIdentity): RunRecord {
  return { ...recordOf(createRunIdentity({ userId, threadId, runId: newRunId(threadId) })), status: 'queued', attempt: 0 }
}

/** A run that has begun to work: it goes on until it is stopped. */
interface Begun { readonly signal: AbortSignal, readonly say: (text: string) => void }

/** An engine over a queue that gives out each run when the test says so, and a log that is asked before each append. */
function createQueuedEngine (
  claims: Promise<RunRecord | undefined>[], unfinished: readonly RunRecord[], openTools: readonly OpenTool[] = [],
  beforeAppend: (event: NewThreadEvent) => Promise<void> | void = () => {}, parts: Parameters<typeof alone>[1] = {}
) {
  const log = createRecordingLog(beforeAppend)
  const logger = createSilentLogger()
  const began = createArrivals<Begun>()
  const agent = defineAgent({
    name: 'slow',
    async * run ({ signal }) {
      const said = Promise.withResolvers<string>()
      began.push({ signal, say: said.resolve })
      const stopped = once(signal, 'abort').then(() => { throw signal.reason })
      yield { type: 'text', text: await Promise.race([said.promise, stopped]) }
      await stopped
    }
  })
  // Only what the engine asks of the stores; a call of anything else fails.
  const runs = {
    claimNext: async () => await claims.shift(),
    unfinished: async (threadId: ThreadId) => unfinished.filter((run) => run.threadId === threadId),
    require: async (runId: RunId) => unfinished.find((run) => run.runId === runId),
    openTools: async () => openTools,
    firstSequence: async () => undefined,
    recoverable: async () => unfinished
  } as unknown as RunStore
  const released: LeasedRun[] = []
  const stopRequests: (readonly [RunId, string])[] = []
  const queue = {
    renew: async (_lease: unknown, held: readonly LeasedRun[]) => held,
    release: async ({ runId, attempt }: LeasedRun) => { released.push({ runId, attempt }) },
    requestStop: async (runId: RunId, reason: string) => {
      stopRequests.push([runId, reason])
      return unfinished.some((run) => run.runId === runId && run.status === 'running')
    },
    claimable: async () => []
  } as unknown as QueueStore
  const messages = { history: async () => ({ messages: [], hasMore: false }) } as unknown as MessageStore
  const activeRuns = unfinished.map(({ runId }) => ({ run_id: runId, text: 'so far, so good' }))
  const threads = { state: async () => ({ activeRuns }) } as unknown as ThreadStore
  const engine = createEngine({
    ...alone(queue, parts),
    runs,
    threads,
    messages,
    agents: createAgentRegistry({ agents: [agent], models: createModelRegistry({ model: 'local' }) }),
    log: { ...log, append: log.append, follow: () => () => {}, read: async () => [], stand () {}, followed: 0, waiting: 0, forget () {}, close: async () => {} },
    slots: new Slots(4),
    logger,
    runTimeoutMs: 60_000,
    stepTimeoutMs: 60_000,
    toolTimeoutMs: 1_000,
    stepLimit: 1,
    waitNoticeMs: 60_000
  })
  return { engine, log, logger, began, released, stopRequests }
}

/** How the runs of a log ended, in order. */
function endings (log: { readonly events: readonly ThreadEvent[] }): (string | undefined)[][] {
  return log.events.flatMap(({ type, run_id: runId, payload }) => type === 'agent_completed' && 'reason' in payload ? [[runId, payload.reason]] : [])
}

t.test('a run that is stopped after the database gave it out and before the engine knows ends as cancelled, without having worked', async (t) => {
  const identity = newRun('alice')
  const run = recordOf(identity)
  const claim = Promise.withResolvers<RunRecord>()
  const { engine, log, began } = createQueuedEngine([claim.promise], [run])

  enterThread(identity, () => { engine.launch() })
  const stopped = await enterThread(identity, () => engine.stop({ runId: run.runId, reason: 'cancelled' }))
  claim.resolve(run)
  await engine.close(60_000)

  t.same(stopped, [run.runId])
  t.same(log.types, ['agent_started', 'agent_completed'])
  t.match(log.events.at(-1)?.payload, { status: 'cancelled', reason: 'cancelled' })
  t.same(began.waiting, [])
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

// kill: no `openTools` in `tellEnd` of lib/engine/end-run.ts
t.test('a run that was begun too often ends after each tool that it had announced has been told as completed, as failed', async (t) => {
  const identity = newRun('alice')
  const run = { ...recordOf(identity), attempt: 4 }
  const openTools = [{ toolCallId: 'call-2', tool: 'research' }, { toolCallId: 'call-3', tool: 'current_time' }]
  const { engine, log, began } = createQueuedEngine([Promise.resolve(run)], [run], openTools)

  await engine.recover()
  await enterThread(identity, () => engine.idle(30_000))

  t.match(log.events, [
    { type: 'tool_completed', run_id: run.runId, payload: { tool_call_id: 'call-2', tool: 'research', success: false, error: { code: 'THREADLINE_SHUTTING_DOWN', retryable: true } } },
    { type: 'tool_completed', payload: { tool_call_id: 'call-3', tool: 'current_time', success: false } },
    // kill: no `saidBy` in `tellEnd` of lib/engine/end-run.ts
    { type: 'agent_completed', payload: { status: 'failed', reason: 'server_restarted', message_id: String, content: 'so far, so good' } }
  ])
  t.equal(log.events.length, 3)
  t.same(began.waiting, [])
})

t.test('what the last process has left is given back and gone on with, and what cannot be worked on does not hinder the others', async (t) => {
  // kill: `recoverRuns` of lib/engine/recover-runs.ts launches without `doubtful`
  const run = recordOf(newRun('alice'))
  const strange = { ...recordOf(newRun('bob')), userId: ' nobody ' as UserId }
  const { engine, began, released, logger } = createQueuedEngine([Promise.resolve({ ...run, attempt: 2 })], [strange, run])

  await engine.recover()
  await began.next()

  t.same(released, [{ runId: run.runId, attempt: 1 }])
  t.match(logger.lines.filter(({ level }) => level === 'error'), [{ message: 'a run of the last process could not be gone on with' }])
  await engine.close(0)
})

t.test('a run whose claim was never answered is given back, and taken anew', async (t) => {
  // kill: `session.doubtful = true` in `claim` of lib/engine/thread-loops.ts
  const identity = newRun('alice')
  const lost = recordOf(identity)
  const { engine, log, began, released } = createQueuedEngine([Promise.reject(new Error('the connection broke')), Promise.resolve({ ...lost, attempt: 2 })], [lost])

  enterThread(identity, () => { engine.launch() })
  await began.next()
  const givenBack = [...released]
  await engine.close(0)

  t.same(givenBack, [{ runId: lost.runId, attempt: 1 }])
  t.match(log.events.at(-1), { type: 'agent_completed', run_id: lost.runId })
  t.same(engine.load, { sessions: 0, runs: 0, slotsTaken: 0, waiting: 0 })
})

t.test('a run whose end could not be stored ends as soon as it can, as it was stopped, and the thread goes on', async (t) => {
  // kill: no `session.unended` in `perform` of lib/engine/thread-loops.ts
  const identity = newRun('alice')
  const run = recordOf(identity)
  let refused = false
  const { engine, log, began } = createQueuedEngine([Promise.resolve(run)], [run], [], (event) => {
    if (event.type !== 'agent_completed' || refused) return
    refused = true
    throw new Error('the disk is full')
  })
  enterThread(identity, () => { engine.launch() })
  await began.next()

  await enterThread(identity, () => engine.stop({ reason: 'cancelled' }))
  await enterThread(identity, () => engine.idle(30_000))

  t.same(endings(log), [[run.runId, 'cancelled']])
  t.same(engine.load, { sessions: 0, runs: 0, slotsTaken: 0, waiting: 0 })
})

t.test('what waits is stopped before what runs, the newest first, so that nothing begins that is about to be stopped', async (t) => {
  const identity = newRun('alice')
  const running = recordOf(identity)
  const [second, third, fourth] = [queued(identity), queued(identity), queued(identity)]
  const { engine, log, began } = createQueuedEngine([Promise.resolve(running)], [running, second, third, fourth])
  enterThread(identity, () => { engine.launch() })
  await began.next()

  const stopped = await enterThread(identity, () => engine.stop({ before: fourth.runId, reason: 'interrupted' }))
  await enterThread(identity, () => engine.idle(30_000))

  t.same(stopped, [running.runId, second.runId, third.runId])
  t.same(endings(log), [[third.runId, 'interrupted'], [second.runId, 'interrupted'], [running.runId, 'interrupted']])
})

// kill: let `stopRuns` in lib/engine/stop-runs.ts stop all that is unfinished when `before` is not among it.
t.test('a run that has ended before it could take the place of others takes no newer ones with it', async (t) => {
  const identity = newRun('alice')
  const [running, newer] = [recordOf(identity), queued(identity)]
  const { engine, log, began } = createQueuedEngine([Promise.resolve(running)], [running, newer])
  enterThread(identity, () => { engine.launch() })
  await began.next()

  const stopped = await enterThread(identity, () => engine.stop({ before: newRunId(identity.threadId), reason: 'rolled_back' }))

  t.same(stopped, [])
  t.same(endings(log), [])
  await enterThread(identity, () => engine.stop({ reason: 'cancelled' }))
  await enterThread(identity, () => engine.idle(30_000))
})

t.test('a run that has ended while it was about to be stopped was not stopped', async (t) => {
  const identity = newRun('alice')
  const [running, ended] = [recordOf(identity), queued(identity)]
  const { engine, log, began } = createQueuedEngine([Promise.resolve(running)], [running, ended], [], (event) => {
    if (event.run_id === ended.runId) throw new ThreadlineError('THREADLINE_CONFLICT')
  })
  enterThread(identity, () => { engine.launch() })
  await began.next()

  const stopped = await enterThread(identity, () => engine.stop({ runId: ended.runId, reason: 'cancelled' }))

  t.same(stopped, [])
  t.equal(engine.load.runs, 1, 'it is not in the registry')
  await engine.close(0)
  t.same(endings(log), [[running.runId, 'server_stopped']])
})

t.test('a user\'s runs are stopped in all threads, those of others go on, and nothing of the user runs any more', async (t) => {
  // kill: let `findAll` of lib/engine/thread-sessions.ts give all sessions
  const [first, other] = [newRun('alice'), newRun('bob')]
  const second = newRun('alice')
  const claims = [first, second, other].map((run) => Promise.resolve(recordOf(run)))
  const { engine, log, began } = createQueuedEngine(claims, [recordOf(first), recordOf(second), recordOf(other)])
  for (const run of [first, second, other]) {
    enterThread(run, () => { engine.launch() })
    await began.next()
  }

  await enterThread(createIdentity({ userId: first.userId }), () => engine.stopUser(30_000))

  t.same(endings(log).map(([, reason]) => reason), ['cancelled', 'cancelled'])
  t.same(engine.load, { sessions: 1, runs: 1, slotsTaken: 1, waiting: 0 })
  await engine.close(0)
  t.same(endings(log).at(-1), [other.runId, 'server_stopped'])
})

t.test('stopping a user\'s runs gives up when the time is over, and leaves alone what comes later', async (t) => {
  const identity = newRun('alice')
  const gate = Promise.withResolvers<void>()
  const { engine, began } = createQueuedEngine([Promise.resolve(recordOf(identity))], [recordOf(identity)], [], async (event) => {
    if (event.type === 'agent_completed') await gate.promise
  })
  enterThread(identity, () => { engine.launch() })
  await began.next()

  await enterThread(createIdentity({ userId: identity.userId }), () => engine.stopUser(20))

  t.equal(engine.load.runs, 1)
  gate.resolve()
  await enterThread(identity, () => engine.idle(30_000))
  t.equal(engine.load.runs, 0)
})

t.test('who listens is told of each end once it is stored, in the context of its run, and neither a failing nor a slow one holds anything up', async (t) => {
  // kill: `await` the listeners where `endedRuns.tell` is called in lib/engine/thread-loops.ts
  const identity = newRun('alice')
  const [executed, waiting] = [recordOf(identity), queued(identity)]
  const { engine, log, began, logger } = createQueuedEngine([Promise.resolve(executed), Promise.resolve(undefined)], [executed, waiting])
  const told: unknown[] = []
  engine.onEnded(() => { throw new Error('a listener that fails') })
  engine.onEnded(() => new Promise(() => {}))
  engine.onEnded(({ run, status }) => { told.push([run.runId, status, currentRun().runId, log.types.at(-1)]) })
  const forget = engine.onEnded(() => { told.push('who does not listen any more') })
  forget()

  enterThread(identity, () => { engine.launch() })
  await began.next()
  await enterThread(identity, () => engine.stop({ reason: 'cancelled' }))
  await enterThread(identity, () => engine.idle(30_000))

  t.same(told, [waiting, executed].map(({ runId }) => [runId, 'cancelled', runId, 'agent_completed']))
  t.match(logger.lines.map(({ message }) => message), ['a listener to the end of runs failed', 'a listener to the end of runs failed'])
  t.same(engine.load, { sessions: 0, runs: 0, slotsTaken: 0, waiting: 0 })
})

// kill: no `sweeping.unref()` in lib/engine/engine.ts
t.test('I120 an engine that nobody closes keeps no process alive, and one that is closed has nothing left', async (t) => {
  const timers = (): number => process.getActiveResourcesInfo().filter((type) => type === 'Timeout').length // those that a process waits for
  const before = timers()
  const identity = newRun('alice')
  const { engine, began } = createQueuedEngine([Promise.resolve(recordOf(identity))], [])

  const whileIdle = timers()
  enterThread(identity, () => { engine.launch() })
  await began.next()
  await engine.close(0)

  t.equal(whileIdle, before)
  t.equal(timers(), before)
  t.same(engine.load, { sessions: 0, runs: 0, slotsTaken: 0, waiting: 0 })
})

t.test('a run whose events the log refuses is aborted at once, tells no end, and does not make its thread doubtful', async (t) => {
  // kill: no `controller.abort(error)` in `executeRun` of lib/engine/execute-run.ts
  for (const code of ['THREADLINE_CONFLICT', 'THREADLINE_THREAD_NOT_FOUND'] as const) {
    const identity = newRun('alice')
    const run = recordOf(identity)
    let gone = false
    const { engine, log, began, logger } = createQueuedEngine([Promise.resolve(run)], [run], [], () => {
      if (gone) throw new ThreadlineError(code)
    })
    let ends = 0
    engine.onEnded(() => { ends += 1 })
    enterThread(identity, () => { engine.launch() })
    const { signal, say } = await began.next()
    gone = true

    say('late')
    await enterThread(identity, () => engine.idle(30_000))

    t.match(signal.reason, { code })
    t.equal(log.calls.at(-1)?.event.type, 'agent_delta', 'after the refusal nothing more is tried')
    t.match(logger.lines.filter(({ level }) => level === 'error'), [])
    t.equal(ends, 0)
    t.same(engine.load, { sessions: 0, runs: 0, slotsTaken: 0, waiting: 0 })
  }
})

t.test('whoever stops a run, what stops with it goes on in the identity of the run', async (t) => {
  // kill: no `bindThread` in `followHere` of lib/engine/execute-run.ts
  const identity = newRun('alice')
  const run = recordOf(identity)
  const { engine, began } = createQueuedEngine([Promise.resolve(run)], [run])
  enterThread(identity, () => { engine.launch() })
  const { signal } = await began.next()
  const heard = new Promise((resolve) => { signal.addEventListener('abort', () => { resolve(tryCurrentThread()) }) })

  await engine.close(0)

  t.match(await heard, { userId: identity.userId, runId: identity.runId })
})
