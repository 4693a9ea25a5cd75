import { SpanKind, SpanStatusCode, type Attributes, type HrTime } from '@opentelemetry/api'
import type { ReadableSpan } from '@opentelemetry/sdk-trace'
import { ATTR_SERVER_ADDRESS, ATTR_SERVER_PORT } from '@opentelemetry/semantic-conventions'
import { attributes } from '../context/attributes.ts'
import type { IsolationSpan } from '../protocol/run-isolation.ts'
import type { Aliases } from './aliases.ts'

const kinds: Readonly<Record<SpanKind, IsolationSpan['kind']>> = {
  [SpanKind.INTERNAL]: 'internal',
  [SpanKind.SERVER]: 'server',
  [SpanKind.CLIENT]: 'client',
  [SpanKind.PRODUCER]: 'producer',
  [SpanKind.CONSUMER]: 'consumer'
}

/** What a verifier reads; nothing of what was said, and no URL. */
const plain: readonly string[] = [
  attributes.hop, attributes.eventType, attributes.sequence, attributes.baggageSent, attributes.violation, attributes.errorType,
  ATTR_SERVER_ADDRESS, ATTR_SERVER_PORT
]
const ofSpanUser = { [attributes.threadId]: 'thread', [attributes.runId]: 'run', [attributes.requestId]: 'request' } as const

/** A span as its run's user may see it: of others only that they are others. */
export function toIsolationSpan (span: ReadableSpan, aliases: Aliases): IsolationSpan {
  const { traceId, spanId } = span.spanContext()
  return {
    trace_id: traceId,
    span_id: spanId,
    parent_span_id: span.parentSpanContext?.spanId ?? null,
    name: span.name,
    kind: kinds[span.kind],
    started_at: microsecondsOf(span.startTime),
    ended_at: span.ended ? microsecondsOf(span.endTime) : null,
    failed: span.status.code === SpanStatusCode.ERROR,
    attributes: shownOf(span.attributes, aliases)
  }
}

function shownOf (seen: Attributes, aliases: Aliases): IsolationSpan['attributes'] {
  const shown: IsolationSpan['attributes'] = {}
  for (const name of plain) {
    const value = seen[name]
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') shown[name] = value
  }
  const { [attributes.userId]: user, [attributes.recipientUserId]: recipient } = seen
  const put = (name: string, alias: (id: string) => string): void => {
    const id = seen[name]
    if (typeof id === 'string') shown[name] = alias(id)
  }
  const idOf = (kind: string, owned: boolean) => (id: string): string => owned ? id : aliases.of(kind, id)
  put(attributes.userId, (id) => aliases.user(id))
  for (const [name, kind] of Object.entries(ofSpanUser)) put(name, idOf(kind, aliases.isOwner(user)))
  put(attributes.recipientUserId, (id) => aliases.user(id))
  put(attributes.recipientThreadId, idOf('thread', aliases.isOwner(recipient)))
  // On a delivery it is the recipient's.
  put(attributes.connectionId, idOf('connection', aliases.isOwner(recipient ?? user)))
  return shown
}

function microsecondsOf ([seconds, nanoseconds]: HrTime): number {
  return seconds * 1e6 + Math.round(nanoseconds / 1e3)
}
