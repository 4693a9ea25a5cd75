import fc from 'fast-check'
import t from 'tap'
import type { AttributeValue, Span } from '../../verify/span.ts'
import { threadlineProfile } from '../../verify/threadline-profile.ts'
import { verify } from '../../verify/verify.ts'
import { verifyTrace } from '../../verify/verify-trace.ts'
import { makeTrace, muchLater, withAttributes } from '../support/made-trace.ts'

const { attributes: names } = threadlineProfile

const anyMade = fc.record({
  seed: fc.uuid(), user: fc.uuid(), thread: fc.uuid(), tools: fc.nat(4), overHttp: fc.boolean()
})
const shuffled = (spans: readonly Span[]): fc.Arbitrary<readonly Span[]> => fc.shuffledSubarray([...spans], { minLength: spans.length })

t.test('every correct trace is clean, in whatever order its spans come', async () => {
  fc.assert(fc.property(anyMade.chain((made) => shuffled(makeTrace(made))), (spans) => {
    const { verdict } = verifyTrace(spans, { nowMs: muchLater })

    return verdict === 'clean'
  }))
})

const rules = [[names.user, 'CTX004'], [names.thread, 'CTX003'], [names.run, 'CTX005']] as const

/** Any span of a message but its first, with another user, thread or run than it had. */
const oneChanged = anyMade.chain((made) => {
  const spans = makeTrace(made)
  return fc.record({ spans: fc.constant(spans), changed: fc.constantFrom(...spans.slice(1)), rule: fc.constantFrom(...rules) })
})

// Kill: `findChanges` of verify/rules/changes.ts takes every value for right: `actual === above.right` becomes `true`.
t.test('J125 the one span of a trace with another thread, user or run is named, with its hop and where the trace was last right', async () => {
  fc.assert(fc.property(oneChanged, ({ spans, changed, rule: [attribute, rule] }) => {
    const { findings } = verifyTrace(withAttributes(spans, changed, { [attribute]: 'another' }), { nowMs: muchLater })

    const [finding] = findings
    const parent = spans.find(({ spanId }) => spanId === changed.parentSpanId)
    const hop = changed.attributes[names.hop] ?? parent?.attributes[names.hop] ?? hopAbove(spans, parent)
    return findings.length === 1 && finding?.rule === rule && finding.spanId === changed.spanId && finding.hop === hop &&
      finding.lastRight?.spanId === changed.parentSpanId && finding.actual === 'another'
  }), { numRuns: 500 })
})

function hopAbove (spans: readonly Span[], from: Span | undefined): AttributeValue | undefined {
  let span = from
  while (span !== undefined && span.attributes[names.hop] === undefined) {
    const { parentSpanId } = span
    span = spans.find(({ spanId }) => spanId === parentSpanId)
  }
  return span?.attributes[names.hop]
}

t.test('J125 when it is the first span that differs, the next hop is named, and the first as where it was before', async () => {
  fc.assert(fc.property(anyMade, fc.constantFrom(...rules), (made, [attribute, rule]) => {
    const spans = makeTrace(made)
    const [root, handler] = spans
    if (root === undefined) return false
    const { findings } = verifyTrace(withAttributes(spans, root, { [attribute]: 'another' }), { nowMs: muchLater })

    return findings.length === 1 && findings[0]?.rule === rule && findings[0].spanId === handler?.spanId && findings[0].lastRight?.spanId === root.spanId
  }))
})

t.test('a hop that has lost its user is named', async () => {
  fc.assert(fc.property(oneChanged, ({ spans, changed }) => {
    fc.pre(changed.attributes[names.hop] !== undefined)
    const { findings } = verifyTrace(withAttributes(spans, changed, { [names.user]: undefined }), { nowMs: muchLater })

    return findings.length === 1 && findings[0]?.rule === 'CTX002' && findings[0].spanId === changed.spanId
  }))
})

/** Few ids, so that they meet; and whatever else a file can hold. */
const oddId = fc.oneof(fc.constantFrom('a', 'b', 'c', 'd'), fc.anything())
const oddText = fc.oneof(fc.constantFrom('a', 'b', 'x'.repeat(5000)), fc.anything())
const hopNames = [...threadlineProfile.hops.map(({ name }) => name), 'nowhere']
const oddSpan = fc.record({
  traceId: fc.oneof({ arbitrary: fc.constant('t'), weight: 5 }, { arbitrary: fc.anything(), weight: 1 }),
  spanId: oddId,
  parentSpanId: oddId,
  name: fc.oneof(fc.constantFrom('socket.handshake', 'chat a'), fc.anything()),
  kind: fc.oneof(fc.constantFrom('server', 'client', 'internal'), fc.anything()),
  startedAt: fc.oneof(fc.double(), fc.nat(), fc.anything()),
  endedAt: fc.oneof(fc.double(), fc.nat(), fc.anything()),
  failed: fc.oneof(fc.boolean(), fc.anything()),
  attributes: fc.oneof(fc.anything(), fc.dictionary(fc.constantFrom(...Object.values(names)), fc.oneof(fc.constantFrom(...hopNames), oddText))),
  links: fc.anything(),
  service: fc.anything()
}, { requiredKeys: [] })

t.test('whatever is given, it is verified or said not to be, and nothing is thrown', async () => {
  fc.assert(fc.property(fc.array(fc.oneof(oddSpan, fc.anything()), { maxLength: 30 }), (garbage) => {
    const spans = garbage as Span[]
    const { traces, verdict } = verify(spans, { nowMs: muchLater })
    verifyTrace(spans, { nowMs: muchLater })

    return traces.checked === traces.clean + traces.withFindings + traces.incomplete && ['clean', 'findings', 'incomplete'].includes(verdict)
  }), { numRuns: 1000 })
})
