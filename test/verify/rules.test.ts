import t from 'tap'
import type { Profile } from '../../verify/profile.ts'
import { ruleIds, type RuleId } from '../../verify/rules/rule.ts'
import type { AttributeValue, Span } from '../../verify/span.ts'
import { threadlineProfile } from '../../verify/threadline-profile.ts'
import { verifyTrace } from '../../verify/verify-trace.ts'
import { makeTrace, muchLater, spanNamed, withAttributes, withSpan } from '../support/made-trace.ts'

const { attributes: names } = threadlineProfile

/** A message with one tool; each case takes it and breaks it, or bends it as far as it may be bent. */
const trace = makeTrace()
const span = (name: string, index?: number): Span => spanNamed(trace, name, index)
const received = span('socket.receive')
const handler = span('handler')
const accepted = span('socket.send')
const registry = span('registry')
const engine = span('engine')
const started = span('emitter')
const delivered = span('socket.send', 1)
const chat = span('chat local')
const tool = span('tool')
const request = span('GET')
const completed = span('emitter', 4)
const completedDelivered = span('socket.send', 5)

const without = (...gone: readonly Span[]): readonly Span[] => trace.filter((one) => !gone.includes(one))
const changed = (one: Span, changes: Readonly<Record<string, AttributeValue | undefined>>): readonly Span[] => withAttributes(trace, one, changes)
/** A further span like another one, in the same trace. */
const like = (one: Span, changes: Partial<Span>): Span => ({ ...one, spanId: 'abcdef0123456789', ...changes })
const handshake = like(received, { name: 'socket.handshake', attributes: { [names.user]: 'alice', [names.thread]: 'thread-a' } })
const nobody = { [names.user]: undefined, [names.thread]: undefined, [names.run]: undefined }

interface Case { readonly rule: RuleId, readonly title: string, readonly spans: readonly Span[], readonly profile?: Partial<Profile> }
interface Firing extends Case {
  readonly hop: string
  readonly at: Span
  readonly lastRight?: Span
  readonly expected: string
  readonly actual?: string
}

const firing: readonly Firing[] = [
  {
    rule: 'CTX001',
    title: 'a run is executed without having been given its agent',
    spans: without(registry),
    hop: 'registry',
    at: engine,
    lastRight: handler,
    expected: 'registry'
  },
  {
    rule: 'CTX001',
    title: 'a run was given its agent, and is not executed',
    spans: [...without(...trace.slice(trace.indexOf(engine))), completed],
    hop: 'engine',
    at: registry,
    lastRight: registry,
    expected: 'engine'
  },
  {
    rule: 'CTX001',
    title: 'a run was taken from the queue without its carrier',
    spans: [{ ...registry, parentSpanId: undefined }, ...[engine, completed].map((one) => ({ ...one, parentSpanId: registry.spanId }))],
    hop: 'handler',
    at: registry,
    expected: 'handler',
    actual: 'nothing above it'
  },
  {
    rule: 'CTX002',
    title: 'a tool carries no run',
    spans: changed(tool, { [names.run]: undefined }),
    hop: 'tool',
    at: tool,
    lastRight: engine,
    expected: 'run run-one'
  },
  {
    rule: 'CTX002',
    title: 'a delivery has lost the thread of its event',
    spans: changed(delivered, { [names.thread]: undefined }),
    hop: 'socket.send',
    at: delivered,
    lastRight: started,
    expected: 'thread thread-a'
  },
  {
    rule: 'CTX002',
    title: 'a model is called in nobody\'s name',
    spans: changed(chat, nobody),
    hop: 'engine',
    at: chat,
    lastRight: engine,
    expected: 'user alice, thread thread-a, run run-one'
  },
  {
    rule: 'CTX003',
    title: 'an event is emitted in another thread',
    spans: changed(completed, { [names.thread]: 'thread-b' }),
    hop: 'emitter',
    at: completed,
    lastRight: handler,
    expected: 'thread-a',
    actual: 'thread-b'
  },
  {
    rule: 'CTX003',
    title: 'an orphan is of another thread',
    spans: [...trace, like(request, { parentSpanId: undefined, attributes: { [names.thread]: 'thread-b' } })],
    hop: 'http.request',
    at: like(request, {}),
    lastRight: received,
    expected: 'thread-a',
    actual: 'thread-b',
    profile: { implied: [{ kind: 'client', hop: 'http.request' }] }
  },
  {
    rule: 'CTX003',
    title: 'an event is emitted in another thread, below a handshake in which a frame was read',
    spans: [handshake, ...withSpan(changed(completed, { [names.thread]: 'thread-b' }), received, { parentSpanId: handshake.spanId })],
    hop: 'emitter',
    at: completed,
    lastRight: handler,
    expected: 'thread-a',
    actual: 'thread-b'
  },
  {
    rule: 'CTX004',
    title: 'a tool runs for another user',
    spans: changed(tool, { [names.user]: 'bob' }),
    hop: 'tool',
    at: tool,
    lastRight: engine,
    expected: 'alice',
    actual: 'bob'
  },
  {
    rule: 'CTX004',
    title: 'a tool sends a request in another user\'s name',
    spans: changed(request, { [names.user]: 'bob' }),
    hop: 'tool',
    at: request,
    lastRight: tool,
    expected: 'alice',
    actual: 'bob'
  },
  {
    rule: 'CTX005',
    title: 'a run is executed under a new run id',
    spans: changed(engine, { [names.run]: 'run-two' }),
    hop: 'engine',
    at: engine,
    lastRight: handler,
    expected: 'run-one',
    actual: 'run-two'
  },
  {
    rule: 'CTX006',
    title: 'the span of a run died with its process',
    spans: without(engine),
    hop: 'emitter',
    at: started,
    lastRight: registry,
    expected: engine.spanId
  },
  {
    rule: 'CTX006',
    title: 'two spans hang below each other',
    spans: withSpan(withSpan(trace, tool, { parentSpanId: request.spanId }), request, { parentSpanId: tool.spanId }),
    hop: 'tool',
    at: tool,
    expected: 'a root above it'
  },
  {
    rule: 'CTX007',
    title: 'an event is written to another user\'s connection',
    spans: changed(delivered, { [names.recipientUser]: 'bob' }),
    hop: 'socket.send',
    at: delivered,
    lastRight: started,
    expected: 'alice',
    actual: 'bob'
  },
  {
    rule: 'CTX007',
    title: 'an event of a thread is written to a connection in another one',
    spans: changed(delivered, { [names.recipientThread]: 'thread-b' }),
    hop: 'socket.send',
    at: delivered,
    lastRight: started,
    expected: 'thread-a',
    actual: 'thread-b'
  },
  {
    rule: 'CTX007',
    title: 'an event of a thread is written to a connection that is in none',
    spans: changed(delivered, { [names.recipientThread]: undefined }),
    hop: 'socket.send',
    at: delivered,
    lastRight: started,
    expected: 'thread-a',
    actual: 'no thread'
  },
  {
    rule: 'CTX007',
    title: 'an event is written to whoever',
    spans: changed(delivered, { [names.recipientUser]: undefined }),
    hop: 'socket.send',
    at: delivered,
    lastRight: started,
    expected: 'a recipient',
    actual: 'none'
  },
  {
    rule: 'CTX007',
    title: 'a hop that need not name a recipient names another thread only',
    spans: changed(delivered, { [names.recipientUser]: undefined, [names.recipientThread]: 'thread-b' }),
    profile: { hops: threadlineProfile.hops.map((hop) => ({ ...hop, delivers: false })) },
    hop: 'socket.send',
    at: delivered,
    lastRight: started,
    expected: 'thread-a',
    actual: 'thread-b'
  },
  {
    rule: 'CTX008',
    title: 'a run does not tell its end',
    spans: without(completed, completedDelivered),
    hop: 'emitter',
    at: span('emitter', 3),
    lastRight: span('emitter', 3),
    expected: 'one agent_completed',
    actual: 'none'
  },
  {
    rule: 'CTX008',
    title: 'a run tells its end twice',
    spans: [...trace, like(completed, { startedAt: completed.startedAt + 1 })],
    hop: 'emitter',
    at: like(completed, {}),
    lastRight: completed,
    expected: 'one agent_completed',
    actual: '2'
  },
  {
    rule: 'CTX009',
    title: 'baggage is sent to a host that is not on the list',
    spans: changed(request, { [names.baggageSent]: true }),
    profile: { baggageHosts: ['search.example.com:8443', 'other.example.com'] },
    hop: 'tool',
    at: request,
    lastRight: tool,
    expected: 'search.example.com:8443, other.example.com',
    actual: 'search.example.com:443'
  },
  {
    rule: 'CTX010',
    title: 'a second user is in a trace, with no way from the first',
    spans: [...trace, like(accepted, { parentSpanId: undefined, attributes: { ...accepted.attributes, [names.user]: 'bob', [names.recipientUser]: 'bob' } })],
    hop: 'socket.send',
    at: like(accepted, {}),
    lastRight: received,
    expected: 'alice',
    actual: 'bob'
  }
]

t.test('each rule fires where it is broken, alone, and names the hop, the span and where the trace was last right', async (t) => {
  for (const { rule, title, spans, profile, hop, at, lastRight, expected, actual } of firing) {
    const { verdict, findings } = verifyTrace(spans, { nowMs: muchLater, profile: { ...threadlineProfile, ...profile } })

    const message = `${rule}: ${title}`
    t.equal(verdict, 'findings', message)
    t.match(findings, [{ rule, hop, spanId: at.spanId, spanName: at.name, expected, ...(actual === undefined ? {} : { actual }) }], message)
    t.equal(findings.length, 1, `${message} is told once`)
    t.equal(findings[0]?.lastRight?.spanId, lastRight?.spanId, `${message}: last right`)
  }
  t.same([...new Set(firing.map(({ rule }) => rule))].toSorted(), [...ruleIds].toSorted(), 'every rule fires')
})

/** A connection is told something in another thread than it began in. */
const notice = { ...accepted, parentSpanId: handshake.spanId, attributes: { ...accepted.attributes, [names.thread]: 'thread-b', [names.recipientThread]: 'thread-b' } }

const standing: readonly Case[] = [
  { rule: 'CTX001', title: 'a message that came over HTTP', spans: makeTrace({ overHttp: true }) },
  { rule: 'CTX001', title: 'a run that is stopped before its turn', spans: [received, handler, accepted, { ...completed, parentSpanId: handler.spanId }] },
  { rule: 'CTX001', title: 'a run whose agent is not known', spans: [received, handler, accepted, { ...registry, failed: true }, completed] },
  { rule: 'CTX001', title: 'a frame that is refused', spans: [{ ...received, failed: true }, { ...accepted, parentSpanId: received.spanId }] },
  { rule: 'CTX002', title: 'a command that needs no thread', spans: [received, handler, accepted].map((one) => ({ ...one, attributes: { ...one.attributes, [names.thread]: '', [names.run]: '', [names.recipientThread]: '' } })) },
  { rule: 'CTX002', title: 'a database call, and a model call of another service', spans: [...changed(request, nobody), like(chat, { service: 'model-proxy', attributes: {} })] },
  { rule: 'CTX002', title: "a call of a model by a tool, told by an instrumentation that knows of no user", spans: [...trace, like(chat, { name: 'chat other', parentSpanId: tool.spanId, attributes: {} })] },
  { rule: 'CTX003', title: 'a thread that is found by the handler only', spans: changed(received, { [names.thread]: undefined }) },
  { rule: 'CTX003', title: 'a connection that has changed its thread since its handshake', spans: [handshake, notice] },
  { rule: 'CTX004', title: 'spans of nobody between those of one user', spans: withAttributes(changed(engine, {}), request, { [names.user]: undefined }) },
  { rule: 'CTX005', title: 'a child request, which has a request id of its own', spans: changed(tool, { [names.request]: 'request-of-the-tool' }) },
  { rule: 'CTX005', title: 'a handler without a run', spans: withAttributes(changed(received, { [names.run]: undefined }), handler, { [names.run]: undefined }) },
  {
    rule: 'CTX005',
    title: 'two runs beside each other in one thread',
    spans: [...withAttributes(changed(received, { [names.run]: undefined }), handler, { [names.run]: undefined }), ...[registry, engine, completed].map((one, index) => ({
      ...one, spanId: `00000000000000a${index}`, attributes: { ...one.attributes, [names.run]: 'run-two' }
    }))].map((one) => one.spanId === accepted.spanId ? { ...one, attributes: { ...one.attributes, [names.run]: '' } } : one)
  },
  { rule: 'CTX006', title: 'a parent that begins later, by another machine\'s clock', spans: withSpan(trace, handler, { startedAt: handler.startedAt + 60_000 }) },
  { rule: 'CTX006', title: 'a root whose parent is written as zeros', spans: withSpan(trace, received, { parentSpanId: '0'.repeat(16) }) },
  { rule: 'CTX007', title: 'an answer about a thread in which the connection is not', spans: changed(accepted, { [names.recipientThread]: 'thread-b' }) },
  { rule: 'CTX007', title: 'a delivery that was refused', spans: withSpan(changed(delivered, {}), delivered, { failed: true }) },
  { rule: 'CTX008', title: 'an end that was refused, and told by another process', spans: [...trace, like(completed, { failed: true })] },
  {
    rule: 'CTX008',
    title: 'a run that was ended with its thread',
    spans: withAttributes(without(completed, completedDelivered), engine, { [names.errorType]: 'THREADLINE_CONFLICT' })
      .map((one) => one.spanId === engine.spanId ? { ...one, failed: true } : one)
  },
  {
    rule: 'CTX008',
    title: 'a run whose thread is no more',
    spans: withAttributes(without(completedDelivered), completed, { [names.errorType]: 'THREADLINE_THREAD_NOT_FOUND' })
      .map((one) => one.spanId === completed.spanId ? { ...one, failed: true } : one)
  },
  { rule: 'CTX009', title: 'a host on the list, in another case', spans: changed(request, { [names.baggageSent]: true }), profile: { baggageHosts: ['SEARCH.example.com'] } },
  { rule: 'CTX009', title: 'a port on the list', spans: changed(request, { [names.baggageSent]: true }), profile: { baggageHosts: ['search.example.com:443'] } },
  { rule: 'CTX009', title: 'a request without baggage', spans: changed(request, { [names.baggageSent]: false }) },
  { rule: 'CTX010', title: 'two roots of one user', spans: [...trace, like(accepted, { parentSpanId: undefined })] }
]

t.test('what is right, however near to wrong, breaks no rule', async (t) => {
  for (const { rule, title, spans, profile } of [{ rule: 'all', title: 'a message with a tool', spans: trace }, ...standing] as readonly Case[]) {
    const report = verifyTrace(spans, { nowMs: muchLater, profile: { ...threadlineProfile, ...profile } })

    t.same(report.findings, [], `${rule}: ${title}`)
    t.equal(report.verdict, 'clean', `${rule}: ${title}`)
  }
  t.same([...new Set(standing.map(({ rule }) => rule))].toSorted(), [...ruleIds].toSorted(), 'every rule is tried')
})
