import { setImmediate as immediate } from 'node:timers/promises'
import t from 'tap'
import { createIdentity } from '../../lib/context/identity.ts'
import { RunRegistry } from '../../lib/engine/run-registry.ts'
import { newRunId, newThreadId } from '../../lib/protocol/ids.ts'
import { actingAs } from '../support/acting-as.ts'
import { inRun, newRun } from '../support/identities.ts'
import { createManualClock } from '../support/manual-clock.ts'
import { watchViolations } from '../support/violations.ts'

t.test('I115 a registered run is found by its id, and among the runs of its thread; an unknown one is nowhere', async (t) => {
  const registry = new RunRegistry()
  const run = newRun('alice')
  const sibling = newRunId(run.threadId)

  const controller = actingAs('alice', () => registry.register(run.runId), run.threadId)
  actingAs('alice', () => registry.register(sibling), run.threadId)

  actingAs('alice', () => {
    t.equal(registry.threadOf(run.runId), run.threadId)
    t.equal(registry.controllerOf(run.runId), controller)
    t.same(registry.runsOf(run.threadId), [run.runId, sibling])
    t.equal(registry.threadOf(newRunId(run.threadId)), undefined)
    t.equal(registry.controllerOf(newRunId(run.threadId)), undefined)
    t.same(registry.runsOf(newThreadId()), [])
  })
  t.equal(registry.size, 2)
})

t.test('I115 the controller of a run is one, whoever registers it first', async (t) => {
  const registry = new RunRegistry()
  const run = newRun('alice')

  const stopping = actingAs('alice', () => registry.register(run.runId), run.threadId)
  stopping.abort(new Error('stopped before it began'))
  const executing = actingAs('alice', () => registry.register(run.runId), run.threadId)

  t.equal(executing, stopping)
  t.equal(registry.size, 1)
})

// kill: the entries of all users in one map.
t.test('I115 another user\'s run is not there, and cannot be unregistered; without an identity nobody\'s is', async (t) => {
  const registry = new RunRegistry()
  const alice = newRun('alice')
  actingAs('alice', () => registry.register(alice.runId), alice.threadId)
  const notThere = (): void => {
    t.equal(registry.threadOf(alice.runId), undefined)
    t.equal(registry.controllerOf(alice.runId), undefined)
    t.same(registry.runsOf(alice.threadId), [])
    t.equal(registry.unregister(alice.runId), false)
  }

  actingAs('bob', notThere)
  actingAs('bob', notThere, alice.threadId)
  notThere()

  t.equal(registry.size, 1)
  t.throws(() => registry.register(alice.runId), { code: 'THREADLINE_NO_CONTEXT' })
  t.throws(() => actingAs('alice', () => registry.register(alice.runId)), { code: 'THREADLINE_NO_CONTEXT' })
})

// kill: no `guard` in `register` of lib/engine/run-registry.ts
t.test('B21 a run is registered in its own thread only', async (t) => {
  const registry = new RunRegistry()
  const violations = watchViolations(t)
  const [here, elsewhere] = [newRun('alice'), newRun('alice')]

  t.throws(() => actingAs('alice', () => registry.register(elsewhere.runId), here.threadId), { code: 'THREADLINE_CONTEXT_MISMATCH' })

  t.match(violations, [{ place: 'run-registry', kind: 'crossed' }])
  t.equal(registry.size, 0)
})

t.test('I116 an unregistered run is nowhere, its thread has no runs, and a second time it is false', async (t) => {
  const registry = new RunRegistry()
  const run = newRun('alice')
  const sibling = newRunId(run.threadId)

  actingAs('alice', () => {
    registry.register(run.runId)
    registry.register(sibling)

    t.equal(registry.unregister(run.runId), true)
    t.equal(registry.threadOf(run.runId), undefined)
    t.equal(registry.controllerOf(run.runId), undefined)
    t.same(registry.runsOf(run.threadId), [sibling])
    t.equal(registry.unregister(sibling), true)
    t.same(registry.runsOf(run.threadId), [])
    t.equal(registry.unregister(run.runId), false)
    t.equal(registry.unregister(newRunId(run.threadId)), false)
  }, run.threadId)
  t.equal(registry.size, 0)
})

t.test('I117 entries past their life are swept, of every user; those that were read lately stay, and are stopped by nobody', async (t) => {
  const clock = createManualClock()
  const registry = new RunRegistry(() => clock.now())
  const [old, watched, listed, asked] = [newRun('alice'), newRun('bob'), newRun('carol'), newRun('alice')]
  const controllers = [old, watched, listed, asked].map((run) => actingAs(run.userId, () => registry.register(run.runId), run.threadId))

  clock.advance(600)
  registry.sweep(1_000)
  const young = registry.size
  actingAs('bob', () => registry.threadOf(watched.runId))
  actingAs('carol', () => registry.runsOf(listed.threadId))
  actingAs('alice', () => registry.controllerOf(asked.runId))
  clock.advance(600)
  registry.sweep(1_000)

  t.equal(young, 4)
  t.equal(registry.size, 3)
  t.equal(actingAs('alice', () => registry.threadOf(old.runId)), undefined)
  t.same(actingAs('alice', () => registry.runsOf(old.threadId)), [])
  t.equal(actingAs('alice', () => registry.threadOf(asked.runId)), asked.threadId)
  t.equal(actingAs('bob', () => registry.threadOf(watched.runId)), watched.threadId)
  t.same(actingAs('carol', () => registry.runsOf(listed.threadId)), [listed.runId])
  t.ok(controllers.every(({ signal }) => !signal.aborted))
  clock.advance(1_000)
  registry.sweep(1_000)
  t.equal(registry.size, 0)
})

t.test('I118 fifty runs that are registered at the same time each have their own thread', async (t) => {
  const registry = new RunRegistry()
  const gate = Promise.withResolvers<void>()
  const runs = Array.from({ length: 50 }, (_, index) => newRun(`user-${index % 10}`))

  const registering = runs.map(async (run) => await inRun(createIdentity({ userId: run.userId, threadId: run.threadId }), async () => {
    await gate.promise
    registry.register(run.runId)
    await immediate()
    return registry.threadOf(run.runId)
  }))
  gate.resolve()
  const found = await Promise.all(registering)

  t.same(found, runs.map(({ threadId }) => threadId))
  t.equal(new Set(found).size, 50)
  for (const { userId, threadId, runId } of runs) t.same(actingAs(userId, () => registry.runsOf(threadId)), [runId])
  await Promise.all(runs.map(async (run) => await inRun(run, async () => { registry.unregister(run.runId) })))
  t.equal(registry.size, 0)
})

t.test('I120 a registry that was closed is empty, and so are its threads', async (t) => {
  const registry = new RunRegistry()
  const runs = [newRun('alice'), newRun('bob')]
  const controllers = runs.map((run) => actingAs(run.userId, () => registry.register(run.runId), run.threadId))

  registry.abortAll(new Error('the server stops'))
  registry.close()

  t.equal(registry.size, 0)
  t.ok(controllers.every(({ signal }) => signal.aborted))
  for (const { userId, threadId, runId } of runs) {
    t.equal(actingAs(userId, () => registry.threadOf(runId)), undefined)
    t.same(actingAs(userId, () => registry.runsOf(threadId)), [])
  }
})
