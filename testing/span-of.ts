import { SpanKind, SpanStatusCode, type HrTime } from '@opentelemetry/api'
import type { ReadableSpan } from '@opentelemetry/sdk-trace'
import type { AttributeValue as SeenValue, Span, SpanKind as SeenKind } from '../verify/span.ts'

const kinds: Readonly<Record<SpanKind, SeenKind>> = {
  [SpanKind.INTERNAL]: 'internal',
  [SpanKind.SERVER]: 'server',
  [SpanKind.CLIENT]: 'client',
  [SpanKind.PRODUCER]: 'producer',
  [SpanKind.CONSUMER]: 'consumer'
}

/** A span of the SDK, ended or open, as the verifier reads it. */
export function spanOf (span: ReadableSpan): Span {
  const { traceId, spanId } = span.spanContext()
  const service = span.resource.attributes['service.name']
  return {
    traceId,
    spanId,
    parentSpanId: span.parentSpanContext?.spanId,
    name: span.name,
    kind: kinds[span.kind],
    startedAt: microsecondsOf(span.startTime),
    endedAt: span.ended ? microsecondsOf(span.endTime) : undefined,
    failed: span.status.code === SpanStatusCode.ERROR,
    attributes: Object.fromEntries(Object.entries(span.attributes).map(([name, value]) => [name, valueOf(value)])),
    links: span.links.map(({ context }) => ({ traceId: context.traceId, spanId: context.spanId })),
    service: typeof service === 'string' ? service : undefined
  }
}

function microsecondsOf ([seconds, nanoseconds]: HrTime): number {
  return seconds * 1e6 + Math.round(nanoseconds / 1e3)
}

function valueOf (value: unknown): SeenValue {
  if (Array.isArray(value)) return value.filter(isPlain)
  return isPlain(value) ? value : JSON.stringify(value) ?? ''
}

function isPlain (value: unknown): value is string | number | boolean {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
}
