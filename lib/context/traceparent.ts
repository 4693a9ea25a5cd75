import { isSpanContextValid, TraceFlags, trace, type SpanContext } from '@opentelemetry/api'

const expression = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/

/** A span context from W3C Trace Context text (version 00), or undefined when it is not one. */
export function parseTraceparent (text: string | null | undefined): SpanContext | undefined {
  const match = expression.exec(text ?? '')
  const [, traceId, spanId, flags] = match ?? []
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined
  const traceFlags = Number.parseInt(flags, 16) & TraceFlags.SAMPLED
  const spanContext: SpanContext = { traceId, spanId, traceFlags, isRemote: true }
  return isSpanContextValid(spanContext) ? spanContext : undefined
}

/** The active span as W3C Trace Context text, or undefined when there is none. */
export function activeTraceparent (): string | undefined {
  const spanContext = trace.getActiveSpan()?.spanContext()
  if (spanContext === undefined || !isSpanContextValid(spanContext)) return undefined
  const flags = (spanContext.traceFlags & TraceFlags.SAMPLED).toString(16).padStart(2, '0')
  return `00-${spanContext.traceId}-${spanContext.spanId}-${flags}`
}
