import type { Tracer } from '@opentelemetry/api'
import { AlwaysOffSampler, createAlwaysRecordSampler, TracerProvider } from '@opentelemetry/sdk-trace'
import t, { type Test } from 'tap'
import { attributes } from '../../lib/context/attributes.ts'
import { enterThread, identityAttributes } from '../../lib/context/current-thread.ts'
import { guard } from '../../lib/context/guard.ts'
import type { RunIdentity } from '../../lib/context/identity.ts'
import { newConnectionId } from '../../lib/protocol/ids.ts'
import type { DatabaseProtection, RunIsolation } from '../../lib/protocol/run-isolation.ts'
import { createInheritanceCheck } from '../../lib/telemetry/inheritance-check.ts'
import { createIsolationReports, type Judgement } from '../../lib/telemetry/isolation-report.ts'
import { RunEvidence, type EvidenceLimits } from '../../lib/telemetry/run-evidence.ts'
import { newRun } from '../support/identities.ts'

const tracer: Tracer = new TracerProvider({
  sampler: createAlwaysRecordSampler(new AlwaysOffSampler()), spanProcessors: [createInheritanceCheck()]
}).getTracer('test')

const silent: Judgement = { findings: [], incomplete: [] }
const protectedBy = (userId: string): DatabaseProtection => ({ role: 'threadline_app', user_id: userId, row_security: 'forced', bypasses_row_security: false })

function collect (t: Test, limits: Partial<EvidenceLimits> = {}): RunEvidence {
  const evidence = new RunEvidence({ maxRuns: 100, maxSpans: 1_000, maxSpansPerTrace: 100, ...limits })
  t.teardown(evidence.listen())
  return evidence
}

interface Reported {
  readonly createdAt?: string
  readonly judgement?: Judgement
  readonly database?: DatabaseProtection
  /** Of other nodes, in any thread. */
  readonly connectionsElsewhere?: number
}

async function reportOn (run: RunIdentity, evidence: RunEvidence, { createdAt = new Date().toISOString(), judgement = silent, database, connectionsElsewhere }: Reported = {}): Promise<RunIsolation> {
  const report = createIsolationReports({
    evidence,
    judge: () => judgement,
    protection: async () => database ?? protectedBy(run.userId),
    otherNodes: connectionsElsewhere === undefined ? undefined : { connectionsIn: () => connectionsElsewhere }
  })
  return await enterThread(run, async () => await report({ ...run, createdAt }))
}

/** A message's spans, as far as evidence is concerned: its frame, its handler and its end. */
function talk (run: RunIdentity, { spans = 1, ends = true } = {}): void {
  const frame = tracer.startSpan('socket.receive', { attributes: { [attributes.hop]: 'socket.receive', [attributes.userId]: run.userId } })
  enterThread(run, () => {
    for (let index = 0; index < spans; index += 1) tracer.startSpan('handler', { attributes: { [attributes.hop]: 'handler', ...identityAttributes(run) } }).end()
    const end = { [attributes.hop]: 'emitter', [attributes.eventType]: 'agent_completed', ...identityAttributes(run) }
    if (ends) tracer.startSpan('emitter', { attributes: end }).end()
  }, { parent: frame })
  frame.end()
}

const find = (evidence: RunEvidence, run: RunIdentity) => enterThread(run, () => evidence.find(run.runId))
const eventOf = (run: RunIdentity, more: object = {}) => ({ type: 'agent_delta', user_id: run.userId, thread_id: run.threadId, run_id: run.runId, ...more })
const socketOf = (run: RunIdentity) => ({ connectionId: newConnectionId(), userId: run.userId, threadId: run.threadId })

t.test('the spans of a run are kept from the frame on, which knew of no run yet', async (t) => {
  const evidence = collect(t)
  const run = newRun('alice')

  talk(run)
  const report = await reportOn(run, evidence)

  t.same(report.hops.map(({ hop }) => hop), ['socket.receive', 'handler', 'emitter'])
  t.match(report, { verdict: 'clean', incomplete: [] })
  t.ok(report.spans.every((span) => span.ended_at !== null))
})

// kill: the user in keyOf, and in find.
t.test('another\'s run is not there, whoever names it', (t) => {
  const evidence = collect(t)
  const [alice, bob] = [newRun('alice'), newRun('bob')]

  talk(alice)

  t.ok(find(evidence, alice))
  t.equal(enterThread(bob, () => evidence.find(alice.runId)), undefined)
  t.throws(() => evidence.find(alice.runId), { code: 'THREADLINE_NO_CONTEXT' })
  t.end()
})

t.test('runs are bounded: those that ended first make room, and that is said', async (t) => {
  const evidence = collect(t, { maxRuns: 3 })
  const open = newRun('opal')
  const ended = Array.from({ length: 5 }, () => newRun('erin'))

  talk(open, { ends: false })
  for (const run of ended) talk(run)

  t.equal(evidence.size, 3)
  t.equal(evidence.dropped, 3)
  t.ok(find(evidence, open), 'one that goes on is kept')
  t.same(ended.map((run) => find(evidence, run) !== undefined), [false, false, false, true, true])
  t.match(await reportOn(ended[0] ?? open, evidence), { verdict: 'incomplete', incomplete: [/make room/], spans: [] })
})

// kill: the condition in `#leastMissed`.
t.test('runs of which no end is ever seen do not push out the others', (t) => {
  const evidence = collect(t, { maxRuns: 4 })
  const ended = Array.from({ length: 5 }, () => newRun('erin'))

  for (const run of Array.from({ length: 3 }, () => newRun('opal'))) talk(run, { ends: false })
  for (const run of ended) talk(run)

  t.equal(evidence.size, 4)
  t.same(ended.map((run) => find(evidence, run) !== undefined), [false, false, false, true, true])
  t.end()
})

t.test('spans are bounded, of one trace and of all', async (t) => {
  const evidence = collect(t, { maxSpans: 40, maxSpansPerTrace: 20 })
  const [long, short, last] = [newRun('lola'), newRun('susi'), newRun('lina')]

  talk(long, { spans: 50 })
  t.match(await reportOn(long, evidence), { verdict: 'incomplete', incomplete: [/^32 spans .* too many/] })
  talk(short, { spans: 10 })
  talk(last, { spans: 15 })

  t.equal(find(evidence, long), undefined)
  t.ok(find(evidence, short))
  t.ok(find(evidence, last))
})

t.test('traces in which no run comes about are not kept', (t) => {
  const evidence = collect(t, { maxRuns: 10 })
  const run = newRun('alice')

  for (let index = 0; index < 100; index += 1) tracer.startSpan('GET /health/live').end()
  const open = Array.from({ length: 50 }, () => tracer.startSpan('GET /v1/threads/:thread_id/events'))
  talk(run)
  for (const span of open) span.end()

  t.equal(evidence.size, 1)
  t.equal(find(evidence, run)?.traces.length, 1)
  t.end()
})

// kill: `createdAt < since` in lib/telemetry/isolation-report.ts.
t.test('of a run from before the process it does not say that all was well', async (t) => {
  const evidence = collect(t)
  const run = newRun('alice')
  const before = tracer.startSpan('handler').spanContext()

  const unseen = await reportOn(run, evidence, { createdAt: '2026-01-01T00:00:00.000Z' })
  enterThread(run, () => {
    tracer.startSpan('emitter', { attributes: { [attributes.hop]: 'emitter', ...identityAttributes(run) } }).end()
  }, { parent: { ...before, traceId: 'a'.repeat(32), isRemote: true } })
  const late: Judgement = { incomplete: [], findings: ['CTX001', 'CTX004', 'CTX006', 'CTX008'].map((rule) => ({ rule, hop: 'emitter', message: rule, trace_id: null, span_id: null })) }
  const seen = await reportOn(run, evidence, { createdAt: '2026-01-01T00:00:00.000Z', judgement: late })

  t.match(unseen, { verdict: 'incomplete', incomplete: [/process was started after/] })
  t.match(seen, { incomplete: [/process was started after/, /beginning of trace a+ was not seen/] })
  t.same(seen.findings.map(({ rule }) => rule), ['CTX004'], 'that something is missing proves nothing, that it is another\'s does')
})

// kill: `hasPeers` in `judgeTrace` of lib/telemetry/isolation-report.ts is false; `unseenDeliveries` gives nothing.
t.test('where there are other nodes, what is missing here may be there: it is no finding, and nothing is clean by it', async (t) => {
  const evidence = collect(t)
  const run = newRun('alice')
  const findings = ['CTX001', 'CTX003', 'CTX006'].map((rule) => ({ rule, hop: 'emitter', message: rule, trace_id: null, span_id: null }))
  const absent: Judgement = { incomplete: [], findings: findings.filter(({ rule }) => rule !== 'CTX003') }
  talk(run)

  const alone = await reportOn(run, evidence, { judgement: absent })
  const among = await reportOn(run, evidence, { judgement: absent, connectionsElsewhere: 0 })
  const crossed = await reportOn(run, evidence, { judgement: { incomplete: [], findings }, connectionsElsewhere: 0 })
  const heardElsewhere = await reportOn(run, evidence, { connectionsElsewhere: 2 })
  const whole = await reportOn(run, evidence, { connectionsElsewhere: 0 })

  t.equal(alone.verdict, 'findings')
  t.match(among, { verdict: 'incomplete', findings: [], incomplete: [/^What CTX001, CTX006 miss in trace [0-9a-f]{32} may have happened on another node$/] })
  t.match(crossed, { verdict: 'findings', findings: [{ rule: 'CTX003' }] })
  t.equal(crossed.findings.length, 1)
  t.match(heardElsewhere, { verdict: 'incomplete', incomplete: [/^Other nodes have 2 connections in the thread/] })
  t.equal(whole.verdict, 'clean')
})

t.test('deliveries are told in ranges, each connection and each way apart', async (t) => {
  const evidence = collect(t)
  const run = newRun('alice')
  const [one, other] = [socketOf(run), socketOf(run)]

  talk(run)
  evidence.sent({ connection: one, event: eventOf(run) })
  for (const sequence of [3, 4, 5, 9, 10]) evidence.sent({ connection: one, event: eventOf(run, { sequence }) })
  for (const sequence of [4, 5]) evidence.sent({ connection: other, event: eventOf(run, { sequence, replayed: true }) })
  const { deliveries, verdict } = await reportOn(run, evidence)

  t.same(deliveries, [
    { connection_id: one.connectionId, user_id: 'alice', thread_id: run.threadId, replayed: false, sequences: [[3, 5], [9, 10]], unsequenced: 1 },
    { connection_id: other.connectionId, user_id: 'alice', thread_id: run.threadId, replayed: true, sequences: [[4, 5]], unsequenced: 0 }
  ])
  t.equal(verdict, 'clean')
})

t.test('an event that went to another user, or into another thread, is found, though it has no span', async (t) => {
  const evidence = collect(t)
  const [alice, bob] = [newRun('alice'), newRun('bob')]
  const elsewhere = { ...socketOf(alice), threadId: newRun('alice').threadId }

  talk(alice)
  evidence.sent({ connection: socketOf(bob), event: eventOf(alice, { sequence: 1 }) })
  evidence.sent({ connection: elsewhere, event: eventOf(alice, { sequence: 2 }) })
  const report = await reportOn(alice, evidence)

  t.equal(report.verdict, 'findings')
  t.match(report.findings, [{ rule: 'CTX007', message: /another-connection-1 of another-user-1/ }, { rule: 'CTX007', message: new RegExp(elsewhere.threadId) }])
  t.match(report.deliveries, [{ user_id: 'another-user-1', thread_id: 'another-thread-1' }, { user_id: 'alice', thread_id: elsewhere.threadId }])
  t.notOk(JSON.stringify(report).includes('bob'), 'whose it is, is none of the reader\'s business')
  t.notOk(JSON.stringify(report).includes(bob.threadId))
})

t.test('what another\'s spans in the trace say is told without saying whose they are', async (t) => {
  const evidence = collect(t)
  const [alice, bob] = [newRun('alice'), newRun('bob')]

  const frame = tracer.startSpan('handler', { attributes: { [attributes.hop]: 'handler', ...identityAttributes(alice) } })
  enterThread(bob, () => { tracer.startSpan('tool', { attributes: { [attributes.hop]: 'tool', ...identityAttributes(bob) } }).end() }, { parent: frame })
  frame.end()
  const report = await reportOn(alice, evidence)

  t.match(report.hops, [{ hop: 'handler', user_id: 'alice' }, { hop: 'tool', user_id: 'another-user-1', thread_id: 'another-thread-1', run_id: 'another-run-1' }])
  t.match(report, { verdict: 'findings', violations: [{ place: 'tool', kind: 'crossed', witness: 'inheritance' }] })
  for (const id of ['bob', bob.threadId, bob.runId]) t.notOk(JSON.stringify(report).includes(id), id)
})

// kill: the comparison in Aliases.isOwner: say true of nobody as well.
t.test('ids on a span that names no user are not shown, but for the run\'s own', async (t) => {
  const evidence = collect(t)
  const [alice, bob] = [newRun('alice'), newRun('bob')]

  const frame = tracer.startSpan('handler', { attributes: { [attributes.hop]: 'handler', ...identityAttributes(alice) } })
  enterThread(alice, () => {
    tracer.startSpan('foreign', { attributes: { [attributes.threadId]: bob.threadId, [attributes.runId]: alice.runId } }).end()
  }, { parent: frame })
  frame.end()
  const report = await reportOn(alice, evidence)

  t.match(report.spans[1]?.attributes, { [attributes.threadId]: 'another-thread-1', [attributes.runId]: alice.runId })
})

t.test('what the guard refuses in a run is in its report', async (t) => {
  const evidence = collect(t)
  const run = newRun('alice')

  const frame = tracer.startSpan('handler', { attributes: identityAttributes(run) })
  t.throws(() => { enterThread(run, () => { guard({ userId: newRun('bob').userId }, 'storage') }, { parent: frame }) })
  const report = await reportOn(run, evidence)

  t.match(report, { verdict: 'findings', violations: [{ place: 'storage', kind: 'crossed', witness: 'guard' }] })
})

t.test('a database that does not protect is a finding', async (t) => {
  const evidence = collect(t)
  const run = newRun('alice')
  talk(run)

  const report = await reportOn(run, evidence, {
    database: { role: 'postgres', user_id: null, row_security: 'enabled', bypasses_row_security: true }
  })

  t.equal(report.verdict, 'findings')
  t.same(report.findings.map(({ rule }) => rule), ['database', 'database', 'database'])
})

t.test('without spans, deliveries alone do not make a run clean', async (t) => {
  const evidence = collect(t)
  const run = newRun('alice')

  evidence.sent({ connection: socketOf(run), event: eventOf(run, { sequence: 1 }) })
  evidence.sent({ connection: socketOf(run), event: { ...eventOf(newRun('old')), replayed: true } })

  t.match(await reportOn(run, evidence), { verdict: 'incomplete', incomplete: [/No span was seen/], deliveries: [{ sequences: [[1, 1]] }] })
  t.equal(evidence.size, 1, 'what is told again of a run that is not known drives nothing out')
})

t.test('deliveries are bounded, and what is beyond is said', async (t) => {
  const evidence = collect(t)
  const run = newRun('alice')
  talk(run)

  for (let index = 0; index < 300; index += 1) evidence.sent({ connection: socketOf(run), event: eventOf(run, { sequence: 1 }) })
  const report = await reportOn(run, evidence)

  t.equal(report.deliveries.length, 256)
  t.match(report, { verdict: 'incomplete', incomplete: [/^44 deliveries/] })
})

t.test('when it has stopped listening, nothing is kept any more', (t) => {
  const evidence = new RunEvidence({ maxRuns: 10, maxSpans: 10, maxSpansPerTrace: 10 })
  const stop = evidence.listen()
  const run = newRun('alice')

  stop()
  talk(run)

  t.equal(evidence.size, 0)
  t.end()
})
