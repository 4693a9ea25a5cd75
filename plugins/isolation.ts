import fp from 'fastify-plugin'
import type { IsolationSpan } from '../lib/protocol/run-isolation.ts'
import { createIsolationReports, type IsolationReports, type Judgement } from '../lib/telemetry/isolation-report.ts'
import { parseBaggageHosts } from '../lib/telemetry/outgoing-baggage.ts'
import { RunEvidence, type SentRunEvent } from '../lib/telemetry/run-evidence.ts'
import type { Profile } from '../verify/profile.ts'
import type { Span } from '../verify/span.ts'
import { threadlineProfile } from '../verify/threadline-profile.ts'
import { verifyTrace } from '../verify/verify-trace.ts'

declare module 'fastify' {
  interface FastifyInstance {
    isolation: {
      readonly report: IsolationReports
      /** Is to be told of each event that leaves for a client. */
      readonly sent: (sent: SentRunEvent) => void
    }
  }
}

/** A span is about 300 bytes. */
const limits = { maxRuns: 1_000, maxSpans: 20_000, maxSpansPerTrace: 500 }

/** Keeps what this node sees of the latest runs, and has the verifier judge it when their users ask. */
export default fp(async function isolation (app) {
  const evidence = new RunEvidence(limits)
  const profile: Profile = { ...threadlineProfile, baggageHosts: [...parseBaggageHosts(process.env['BAGGAGE_HOSTS'])] }
  const stop = evidence.listen()

  app.decorate('isolation', {
    report: createIsolationReports({
      evidence,
      judge: (spans) => judge(spans, profile),
      protection: async () => await app.storage.protection(),
      // The gateway is registered later, and there is one before anybody asks.
      otherNodes: app.node.hasPeers ? { connectionsIn: (threadId) => app.gateway.elsewhereIn(threadId) } : undefined
    }),
    sent: (sent) => { evidence.sent(sent) }
  })
  app.addHook('onClose', async () => { stop() })
}, { name: 'isolation', fastify: '5.x', dependencies: ['node', 'storage'] })

/** The process knows what is open: nothing is late that is not there. */
function judge (spans: readonly IsolationSpan[], profile: Profile): Judgement {
  const { findings, incomplete } = verifyTrace(spans.map(toSpan), { profile, lateMs: 0 })
  return {
    incomplete,
    findings: findings.map(({ rule, hop = null, message, traceId, spanId }) => ({ rule, hop, message, trace_id: traceId, span_id: spanId }))
  }
}

function toSpan (span: IsolationSpan): Span {
  return {
    traceId: span.trace_id,
    spanId: span.span_id,
    parentSpanId: span.parent_span_id ?? undefined,
    name: span.name,
    kind: span.kind,
    startedAt: span.started_at,
    endedAt: span.ended_at ?? undefined,
    failed: span.failed,
    attributes: span.attributes,
    links: []
  }
}
