import { context, ROOT_CONTEXT, trace, type Attributes, type Span } from '@opentelemetry/api'
import {
  AlwaysOffSampler, createAlwaysRecordSampler, InMemorySpanExporter, SimpleSpanProcessor, TracerProvider, type ReadableSpan
} from '@opentelemetry/sdk-trace'
import t from 'tap'
import { attributes } from '../../lib/context/attributes.ts'
import { bindThread } from '../../lib/context/bind.ts'
import { childRequest } from '../../lib/context/child-request.ts'
import { enterThread, identityAttributes } from '../../lib/context/current-thread.ts'
import { violationChannel, type Violation } from '../../lib/context/guard.ts'
import { createIdentity, type Identity } from '../../lib/context/identity.ts'
import { newRunId } from '../../lib/protocol/ids.ts'
import { createInheritanceCheck } from '../../lib/telemetry/inheritance-check.ts'
import { watchCounters } from '../support/counters.ts'
import { newRun } from '../support/identities.ts'
import { runProgram, runWithPreload } from '../support/run-program.ts'
import { watchViolations } from '../support/violations.ts'

/** A tracer of which no span is sampled, and each is checked. */
function startTracer ({ maxTraces = 100 } = {}) {
  const exporter = new InMemorySpanExporter()
  const provider = new TracerProvider({
    sampler: createAlwaysRecordSampler(new AlwaysOffSampler()),
    spanProcessors: [createInheritanceCheck({ maxTraces }), new SimpleSpanProcessor({ exporter })]
  })
  const tracer = provider.getTracer('test')
  const hop = (name: string, identity: Identity | undefined, more: Attributes = {}): Span => tracer.startSpan(name, {
    attributes: { [attributes.hop]: name, ...(identity === undefined ? {} : identityAttributes(identity)), ...more }
  })
  const below = <T>(parent: Span, fn: () => T): T => context.with(trace.setSpan(context.active(), parent), fn)
  return { tracer, hop, below, exporter }
}

const remoteOf = (span: Span) => ({ ...span.spanContext(), isRemote: true })
const [alice, bob] = [newRun('alice'), newRun('bob')]
const { userId, threadId } = alice
const aliceAlone = createIdentity({ userId })
const ownerOf = ({ userId, threadId, runId }: Identity) => ({ userId, threadId, runId })
const violationOf = (span: Span): unknown => (span as unknown as ReadableSpan).attributes[attributes.violation] // the SDK's spans can be read

t.test('an identity that comes along, and says more on its way, is no violation', async (t) => {
  const violations = watchViolations(t)
  const { tracer, hop, below } = startTracer()

  const received = enterThread(aliceAlone, () => hop('socket.receive', aliceAlone))
  const inThread = createIdentity({ userId, threadId })
  const handler = enterThread(inThread, () => hop('handler', inThread), { parent: received })
  const engine = enterThread(alice, () => hop('engine', alice), { parent: remoteOf(handler) })
  enterThread(alice, () => {
    const tool = childRequest('tool', () => hop('tool', alice))
    below(tool, () => { tracer.startSpan('a span of a foreign instrumentation').end() })
  }, { parent: engine })

  t.same(violations, [])
})

// kill: return nothing from `check`.
t.test('another user, thread or run than that of the span above is crossed, though the trace is not sampled', async (t) => {
  const violations = watchViolations(t)
  const { hop, exporter } = startTracer()
  const others = [bob, createIdentity({ userId, threadId: bob.threadId }), createIdentity({ userId, threadId, runId: newRunId(threadId) })]

  const engine = enterThread(alice, () => hop('engine', alice))
  const found = others.map((other) => enterThread(other, () => hop('tool', other), { parent: engine }))
  for (const span of [...found, engine]) span.end()

  t.same(violations, others.map((identity) => ({ place: 'tool', witness: 'inheritance', kind: 'crossed', owner: ownerOf(alice), identity })))
  t.same(found.map(violationOf), ['crossed', 'crossed', 'crossed'], 'a collector that sees the span keeps its trace')
  t.equal(violationOf(engine), undefined)
  t.same(exporter.getFinishedSpans(), [], 'and it is not sampled for that')
})

// kill: check the span that tells of a violation, too, in `onStart`: each would be told by another one below it, without end.
t.test('a witness that tells of a violation by a span of its own is not told of that span', async (t) => {
  const violations = watchViolations(t)
  const { tracer, hop } = startTracer()
  const alarm = (): void => { tracer.startSpan('alarm', { attributes: { [attributes.violation]: 'lost' } }).end() }
  violationChannel.subscribe(alarm)
  t.teardown(() => { violationChannel.unsubscribe(alarm) })

  const engine = enterThread(alice, () => hop('engine', alice))
  context.with(trace.setSpan(ROOT_CONTEXT, engine), () => { tracer.startSpan('lost').end() })

  t.match(violations, [{ kind: 'lost' }])
  t.equal(violations.length, 1)
})

// kill: forget what is known of a trace, at `known.set`.
t.test('below a carrier the trace itself tells whose it is', async (t) => {
  const violations = watchViolations(t)
  const { hop } = startTracer()
  const received = enterThread(aliceAlone, () => hop('socket.receive', aliceAlone))
  const handler = enterThread(alice, () => hop('handler', alice), { parent: received })

  for (const span of [handler, received]) span.end()
  enterThread(bob, () => hop('engine', bob), { parent: remoteOf(handler) })
  const other = createIdentity({ userId, threadId, runId: newRunId(threadId) })
  enterThread(other, () => hop('socket.send', other), { parent: remoteOf(received) })

  t.match(violations, [
    { place: 'engine', kind: 'crossed', owner: ownerOf(alice), identity: { userId: 'bob' } },
    { place: 'socket.send', kind: 'crossed', owner: ownerOf(alice), identity: { runId: other.runId } }
  ])
  t.equal(violations.length, 2)
})

t.test('what was set on a span after its start counts for what comes below it', async (t) => {
  const violations = watchViolations(t)
  const { tracer, hop } = startTracer()

  const request = tracer.startSpan('GET /v1/threads', {}, ROOT_CONTEXT)
  request.setAttributes(identityAttributes(alice))
  enterThread(alice, () => hop('handler', alice), { parent: request })
  t.same(violations, [])
  enterThread(bob, () => hop('handler', bob), { parent: request })
  enterThread(bob, () => hop('socket.send', bob), { parent: remoteOf(request) })

  t.match(violations, [{ place: 'handler', kind: 'crossed' }, { place: 'socket.send', kind: 'crossed' }])
})

t.test('a span that says another than its context is crossed, and the context is believed', async (t) => {
  const violations = watchViolations(t)
  const { hop } = startTracer()

  enterThread(alice, () => hop('emitter', bob))

  t.same(violations, [{ place: 'emitter', witness: 'inheritance', kind: 'crossed', owner: alice, identity: alice }])
})

t.test('a hop without an identity is lost, and so is one that no longer knows its run', async (t) => {
  const violations = watchViolations(t)
  const { hop, below } = startTracer()
  const inThread = createIdentity({ userId, threadId })

  const engine = enterThread(alice, () => hop('engine', alice))
  below(engine, () => hop('tool', undefined))
  enterThread(inThread, () => hop('emitter', inThread), { parent: engine })
  hop('registry', undefined)

  t.match(violations, [
    { place: 'tool', kind: 'lost', owner: ownerOf(alice), identity: undefined },
    { place: 'emitter', kind: 'lost', owner: ownerOf(alice), identity: inThread },
    { place: 'registry', kind: 'lost' }
  ])
})

t.test('a span of no hop is judged by its context, and named by the hop above it', async (t) => {
  const violations = watchViolations(t)
  const { tracer, hop, below } = startTracer()
  const start = () => tracer.startSpan('SELECT')

  const engine = enterThread(alice, () => hop('engine', alice))
  below(engine, start)
  enterThread(bob, start, { parent: engine })
  enterThread(bob, start)
  start()

  t.match(violations, [{ place: 'engine', kind: 'lost', identity: undefined }, { place: 'engine', kind: 'crossed', identity: bob }])
  t.equal(violations.length, 2)
})

t.test('a listener that was called in its speaker\'s context is seen, and a bound one is not', async (t) => {
  const violations = watchViolations(t)
  const { hop } = startTracer()
  const listen = (): void => { hop('socket.send', alice).end() }
  const aliceSpan = enterThread(alice, () => hop('engine', alice))
  const bobSpan = enterThread(bob, () => hop('engine', bob))

  const [unbound, bound] = enterThread(alice, () => [listen, bindThread(listen)], { parent: aliceSpan })
  enterThread(bob, () => { bound?.() }, { parent: bobSpan })
  t.same(violations, [])
  enterThread(bob, () => { unbound?.() }, { parent: bobSpan })

  t.match(violations, [{ place: 'socket.send', kind: 'crossed', owner: { userId: 'bob' }, identity: bob }])
})

t.test('what is known of traces is bounded, and the oldest are forgotten', async (t) => {
  const violations = watchViolations(t)
  const { hop } = startTracer({ maxTraces: 4 })

  const roots = [1, 2, 3, 4, 5].map(() => enterThread(alice, () => hop('handler', alice)))
  for (const root of roots.toReversed()) enterThread(bob, () => hop('engine', bob), { parent: remoteOf(root) })

  t.equal(violations.length, 3, 'of the last three it is still known whose they were')
})

t.test('a violation is counted by hop, kind and witness', async (t) => {
  const counts = watchCounters(t)
  const { hop } = startTracer()

  enterThread(alice, () => hop('emitter', bob))

  t.same(counts, [{ counter: 'threadline.context.violations', value: 1, attributes: { hop: 'emitter', kind: 'crossed', witness: 'inheritance' } }])
})

t.test('it never throws into what it watches', async (t) => {
  const { hop } = startTracer()
  t.intercept(violationChannel, 'publish', { value: () => { throw new Error('a channel that fails') } })

  t.doesNotThrow(() => { enterThread(alice, () => hop('emitter', bob)) })
})

interface Report { readonly violations: readonly Violation[], readonly spanIds: boolean, readonly identity: string, readonly sampled: boolean }

async function cross (env: Readonly<Record<string, string>>): Promise<Report> {
  const { exitCode, output, errors } = await runWithPreload('test/telemetry/programs/cross-identities.ts', env)
  if (exitCode !== 0 || errors !== '') throw new Error(`The program ended with ${exitCode}: ${errors}`)
  return JSON.parse(output) as Report // what the program writes
}

// kill: `createAlwaysRecordSampler(sampler)` is `sampler`, in start-telemetry.ts.
t.test('the preload checks traces that are not sampled, and those that nobody exports', async (t) => {
  const reports = await Promise.all([
    cross({}),
    cross({ OTEL_TRACES_SAMPLER: 'always_off', OTEL_TRACES_EXPORTER: 'console' }),
    cross({ OTEL_TRACES_SAMPLER: 'parentbased_traceidratio', OTEL_TRACES_SAMPLER_ARG: '0', OTEL_TRACES_EXPORTER: 'console' })
  ])

  for (const report of reports) {
    t.match(report.violations, [{ place: 'engine', witness: 'inheritance', kind: 'crossed' }])
    t.match(report, { spanIds: true, sampled: false, identity: 'alice' })
  }
})

t.test('it can be switched off, alone or with the whole SDK', async (t) => {
  const [alone, whole] = await Promise.all([cross({ THREADLINE_TRACE_CHECK: 'off' }), cross({ OTEL_SDK_DISABLED: 'true' })])

  t.match(alone, { violations: [], spanIds: true, identity: 'alice' })
  t.match(whole, { violations: [], spanIds: false, identity: 'alice' })
})

t.test('without the preload there is nothing to check, and identities are as always', async (t) => {
  const { output } = await runProgram(['test/telemetry/programs/cross-identities.ts'])

  t.match(JSON.parse(output), { violations: [], spanIds: false, identity: 'alice' })
})
