import { SpanStatusCode, type HrTime, type SpanKind } from '@opentelemetry/api'
import type { ReadableSpan } from '@opentelemetry/sdk-trace'
import { ATTR_SERVER_ADDRESS, ATTR_SERVER_PORT } from '@opentelemetry/semantic-conventions'
import { attributes } from '../context/attributes.ts'

/** What a verifier reads of a span, and nothing else of it: the SDK's own is several times as large. */
export interface SeenSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | undefined
  readonly name: string
  readonly kind: SpanKind
  /** In µs since 1970. */
  readonly startedAt: number
  /** In µs since 1970; undefined while it is open. */
  readonly endedAt: number | undefined
  readonly failed: boolean
  readonly userId: unknown
  readonly threadId: unknown
  readonly runId: unknown
  readonly requestId: unknown
  readonly connectionId: unknown
  readonly recipientUserId: unknown
  readonly recipientThreadId: unknown
  readonly hop: unknown
  readonly eventType: unknown
  readonly sequence: unknown
  readonly baggageSent: unknown
  readonly violation: unknown
  readonly errorType: unknown
  readonly serverAddress: unknown
  readonly serverPort: unknown
}

export function toSeenSpan (span: ReadableSpan): SeenSpan {
  const { traceId, spanId } = span.spanContext()
  const { attributes: said } = span
  return {
    traceId,
    spanId,
    parentSpanId: span.parentSpanContext?.spanId,
    name: span.name,
    kind: span.kind,
    startedAt: microsecondsOf(span.startTime),
    endedAt: span.ended ? microsecondsOf(span.endTime) : undefined,
    failed: span.status.code === SpanStatusCode.ERROR,
    userId: said[attributes.userId],
    threadId: said[attributes.threadId],
    runId: said[attributes.runId],
    requestId: said[attributes.requestId],
    connectionId: said[attributes.connectionId],
    recipientUserId: said[attributes.recipientUserId],
    recipientThreadId: said[attributes.recipientThreadId],
    hop: said[attributes.hop],
    eventType: said[attributes.eventType],
    sequence: said[attributes.sequence],
    baggageSent: said[attributes.baggageSent],
    violation: said[attributes.violation],
    errorType: said[attributes.errorType],
    serverAddress: said[ATTR_SERVER_ADDRESS],
    serverPort: said[ATTR_SERVER_PORT]
  }
}

function microsecondsOf ([seconds, nanoseconds]: HrTime): number {
  return seconds * 1e6 + Math.round(nanoseconds / 1e3)
}
