import t from 'tap'
import type { Span } from '../../verify/span.ts'
import { threadlineProfile } from '../../verify/threadline-profile.ts'
import { verifyTrace } from '../../verify/verify-trace.ts'
import { longAgo, makeTrace, muchLater, spanNamed, withAttributes, withSpan } from '../support/made-trace.ts'

const { attributes: names } = threadlineProfile
const trace = makeTrace()
const engine = spanNamed(trace, 'engine')
const completed = spanNamed(trace, 'emitter', 4)
const lastMs = longAgo / 1000 + 120
const secondsLater = (seconds: number): number => lastMs + seconds * 1000
const unended = trace.filter((span) => span !== completed && span.parentSpanId !== completed.spanId)

t.test('the hops are told in the order of the message\'s way, each with the identity that was seen there', async (t) => {
  const { hops, spans, traceId } = verifyTrace(trace.toReversed(), { nowMs: muchLater })

  t.same(hops.map(({ hop }) => hop), [
    'socket.receive', 'handler', 'socket.send', 'registry', 'engine', 'emitter', 'socket.send', 'emitter', 'socket.send', 'emitter', 'socket.send',
    'tool', 'emitter', 'socket.send', 'emitter', 'socket.send'
  ])
  t.equal(spans, trace.length)
  t.equal(traceId, trace[0]?.traceId)
  const identity = { userId: 'alice', threadId: 'thread-a', runId: 'run-one', requestId: 'request-one' }
  t.match(hops.at(-1), {
    identity, connectionId: 'connection-one', recipient: { userId: 'alice', threadId: 'thread-a' }, eventType: 'agent_completed', sequence: 5
  })
  t.match(hops[4], { name: 'invoke_agent assistant', spanId: engine.spanId, service: 'threadline', startedAt: engine.startedAt, endedAt: engine.endedAt })
})

// kill: the reasons in verifySeen without noticedBy
t.test('a trace at which the service itself has noticed something is not clean', async (t) => {
  const report = verifyTrace(withAttributes(trace, engine, { [names.violation]: 'crossed' }), { nowMs: muchLater })

  t.match(report, { verdict: 'incomplete', findings: [] })
  t.same(report.incomplete, [`The service has noticed an identity that was crossed, at engine (span ${engine.spanId})`])
})

t.test('what is missing is no finding while it may still come', async (t) => {
  const orphaned = trace.filter((span) => span !== engine)

  const soon = verifyTrace(orphaned, { nowMs: secondsLater(9) })
  const late = verifyTrace(orphaned, { nowMs: secondsLater(11) })

  t.equal(soon.verdict, 'incomplete')
  t.match(soon.incomplete, [new RegExp(`The parent ${engine.spanId} .* is not in the trace, yet: the trace was heard of just now`)])
  t.match(late, { verdict: 'findings', findings: [{ rule: 'CTX006' }] })
  t.match(verifyTrace(orphaned, { nowMs: secondsLater(11), lateMs: 60_000 }), { verdict: 'incomplete' })
})

t.test('a run that has not told its end is waited for longer', async (t) => {
  t.match(verifyTrace(unended, { nowMs: secondsLater(500) }), { verdict: 'incomplete', incomplete: [/told no agent_completed, yet: run run-one is going on/] })
  t.match(verifyTrace(unended, { nowMs: secondsLater(601) }), { verdict: 'findings', findings: [{ rule: 'CTX008' }] })
  t.match(verifyTrace(unended, { nowMs: secondsLater(500), openRunMs: 100_000 }), { verdict: 'findings', findings: [{ rule: 'CTX008' }] })
  const children = unended.filter((span) => span !== engine) // of an engine that is still at work, and so was not exported
  t.match(verifyTrace(children, { nowMs: secondsLater(500) }), { verdict: 'incomplete', findings: [] })
})

t.test('what is crossed is a finding at once', async (t) => {
  const crossed = withAttributes(unended, spanNamed(trace, 'tool'), { [names.user]: 'bob' })

  t.match(verifyTrace(crossed, { nowMs: secondsLater(0) }), { verdict: 'findings', findings: [{ rule: 'CTX004', hop: 'tool' }], incomplete: [String] })
})

t.test('nothing is clean before it is settled', async (t) => {
  t.match(verifyTrace(trace, { nowMs: secondsLater(1) }), { verdict: 'incomplete', incomplete: ['More may come: the trace was heard of just now'] })
  t.match(verifyTrace(withSpan(trace, engine, { endedAt: undefined }), { nowMs: muchLater }), {
    verdict: 'incomplete', incomplete: ['More may come: invoke_agent assistant has not ended']
  })
  t.match(verifyTrace(withSpan(trace, engine, { endedAt: muchLater * 1e6 }), { nowMs: muchLater }), { verdict: 'incomplete' }, 'ends in the future')
  t.match(verifyTrace([], { nowMs: muchLater }), { verdict: 'incomplete', spans: 0 })
})

t.test('a trace without a hop is only checked for orphans, baggage, a second user and wrong recipients', async (t) => {
  const health: Span = { ...engine, spanId: '00000000000000a0', parentSpanId: undefined, name: 'GET /health', kind: 'server', attributes: {} }
  const query: Span = { ...health, spanId: '00000000000000a1', parentSpanId: health.spanId, name: 'chat', kind: 'client', attributes: { [names.user]: 'alice' } }
  const other = { ...query, spanId: '00000000000000a2', attributes: { [names.user]: 'bob', [names.baggageSent]: true } }

  t.match(verifyTrace([health, query], { nowMs: muchLater }), { verdict: 'clean', hops: [] })
  t.match(verifyTrace([health, query, other], { nowMs: muchLater }).findings.map(({ rule }) => rule), ['CTX009', 'CTX010'])
  t.match(verifyTrace([query], { nowMs: muchLater }).findings.map(({ rule }) => rule), ['CTX006'])

  const below = { ...query, spanId: '00000000000000a3', parentSpanId: query.spanId, attributes: { [names.user]: 'bob' } }
  const written = { ...below, attributes: { [names.user]: 'alice', [names.recipientUser]: 'bob' } }
  t.same(verifyTrace([health, query, below], { nowMs: muchLater }).findings.map(({ rule }) => rule), ['CTX004'])
  t.same(verifyTrace([health, query, written], { nowMs: muchLater }).findings.map(({ rule }) => rule), ['CTX007'])
})

t.test('deliveries that come long after their run, without it, are incomplete', async (t) => {
  const replayed = trace.filter(({ name, attributes }) => name === 'socket.send' && attributes[names.sequence] !== undefined)

  t.match(verifyTrace(replayed, { nowMs: muchLater }), { verdict: 'incomplete', findings: [], incomplete: [/Only deliveries/] })
})

t.test('a span that was read twice is one', async (t) => {
  const open = withSpan(trace, engine, { endedAt: undefined, attributes: {} })

  t.match(verifyTrace([...trace, ...trace], { nowMs: muchLater }), { verdict: 'clean', spans: trace.length })
  t.match(verifyTrace([...open, ...trace], { nowMs: muchLater }), { verdict: 'clean', spans: trace.length })
  t.match(verifyTrace([...trace, ...open], { nowMs: muchLater }), { verdict: 'clean', spans: trace.length })
})

t.test('two spans of one id that say different things are incomplete', async (t) => {
  const other = withAttributes([engine], engine, { [names.user]: 'bob' })

  const report = verifyTrace([...trace, ...other], { nowMs: muchLater })

  const contradiction = { verdict: 'incomplete', incomplete: [`Two different spans have the id ${engine.spanId}`] }
  t.match(report, contradiction)
  t.match(verifyTrace([...trace, { ...engine, failed: true }], { nowMs: muchLater }), contradiction, 'one has failed')
  for (const open of other.map((span) => ({ ...span, endedAt: undefined }))) {
    t.match(verifyTrace([open, ...trace], { nowMs: muchLater }), contradiction, 'it was another\'s before it had ended')
    t.match(verifyTrace([...trace, open], { nowMs: muchLater }), contradiction)
  }
})

t.test('spans of other traces are left out, and said', async (t) => {
  const report = verifyTrace([...trace, ...makeTrace({ seed: 'two' })], { nowMs: muchLater })

  t.match(report, { verdict: 'incomplete', spans: trace.length, incomplete: ['20 spans belong to other traces'] })
})

t.test('a chain of 100,000 spans, a ring of as many and as many roots are verified', async (t) => {
  const count = 100_000
  const id = (index: number): string => index.toString(16).padStart(16, '0')
  const made = (parentOf: (index: number) => string | undefined): Span[] => Array.from({ length: count }, (_, index) =>
    ({ ...engine, spanId: id(index + 1), parentSpanId: parentOf(index + 1), startedAt: longAgo + index % 7 }))
  const ended = { ...completed, parentSpanId: undefined }

  const chain = verifyTrace([...made((index) => id(index - 1)), ended], { nowMs: muchLater })
  const ring = verifyTrace([...made((index) => id(index === 1 ? count : index - 1)), ended], { nowMs: muchLater })
  const roots = verifyTrace([...made(() => undefined), ended], { nowMs: muchLater })

  t.equal(chain.hops.length, count + 1)
  t.same(chain.findings.filter(({ rule }) => rule === 'CTX006'), [])
  t.match(ring.findings.filter(({ rule }) => rule === 'CTX006').map(({ message }) => message), [/its own ancestor/])
  t.equal(ring.hops.length, count + 1)
  t.equal(roots.hops.length, count + 1)
})
