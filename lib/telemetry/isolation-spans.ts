import { SpanKind } from '@opentelemetry/api'
import { ATTR_SERVER_ADDRESS, ATTR_SERVER_PORT } from '@opentelemetry/semantic-conventions'
import { attributes } from '../context/attributes.ts'
import type { IsolationSpan } from '../protocol/run-isolation.ts'
import type { Aliases } from './aliases.ts'
import type { SeenSpan } from './seen-span.ts'

const kinds: Readonly<Record<SpanKind, IsolationSpan['kind']>> = {
  [SpanKind.INTERNAL]: 'internal',
  [SpanKind.SERVER]: 'server',
  [SpanKind.CLIENT]: 'client',
  [SpanKind.PRODUCER]: 'producer',
  [SpanKind.CONSUMER]: 'consumer'
}

/** A span as its run's user may see it: of others only that they are others. */
export function toIsolationSpan (span: SeenSpan, aliases: Aliases): IsolationSpan {
  return {
    trace_id: span.traceId,
    span_id: span.spanId,
    parent_span_id: span.parentSpanId ?? null,
    name: span.name,
    kind: kinds[span.kind],
    started_at: span.startedAt,
    ended_at: span.endedAt ?? null,
    failed: span.failed,
    attributes: shownOf(span, aliases)
  }
}

function shownOf (span: SeenSpan, aliases: Aliases): IsolationSpan['attributes'] {
  const shown: IsolationSpan['attributes'] = {}
  const put = (name: string, value: unknown): void => {
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') shown[name] = value
  }
  const alias = (kind: string, id: unknown, whose: unknown): unknown => {
    return typeof id !== 'string' || aliases.isOwner(whose) ? id : aliases.of(kind, id)
  }
  const { userId, recipientUserId } = span
  // Shown as they are: nothing of what was said is in them, and no URL.
  put(attributes.hop, span.hop)
  put(attributes.eventType, span.eventType)
  put(attributes.sequence, span.sequence)
  put(attributes.baggageSent, span.baggageSent)
  put(attributes.violation, span.violation)
  put(attributes.errorType, span.errorType)
  // Which hosts the service works with is told only where an identity went to one.
  if (span.baggageSent === true) {
    put(ATTR_SERVER_ADDRESS, span.serverAddress)
    put(ATTR_SERVER_PORT, span.serverPort)
  }
  put(attributes.userId, alias('user', userId, userId))
  put(attributes.threadId, alias('thread', span.threadId, userId))
  put(attributes.runId, alias('run', span.runId, userId))
  put(attributes.requestId, alias('request', span.requestId, userId))
  put(attributes.recipientUserId, alias('user', recipientUserId, recipientUserId))
  put(attributes.recipientThreadId, alias('thread', span.recipientThreadId, recipientUserId))
  // On a delivery it is the recipient's.
  put(attributes.connectionId, alias('connection', span.connectionId, recipientUserId ?? userId))
  return shown
}
