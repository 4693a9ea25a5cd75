import { context, isSpanContextValid, trace } from '@opentelemetry/api'
import { tryCurrentIdentity } from '../context/current-thread.ts'

/** Named as the log data model of OpenTelemetry names them in JSON (`trace_id`, `span_id`), the identity as the protocol does. */
export interface LogContext {
  trace_id?: string
  span_id?: string
  user_id?: string
  thread_id?: string
  run_id?: string
  request_id?: string
}

/**
 * The ids of the active context, for a logger's `mixin`: a new object at each call, with the ids that are known. Sampled or not, a span
 * has ids.
 */
export function logContext (): LogContext {
  const fields: LogContext = {}
  const spanContext = trace.getSpanContext(context.active())
  if (spanContext !== undefined && isSpanContextValid(spanContext)) {
    fields.trace_id = spanContext.traceId
    fields.span_id = spanContext.spanId
  }
  const identity = tryCurrentIdentity()
  if (identity === undefined) return fields
  fields.user_id = identity.userId
  if (identity.threadId !== undefined) fields.thread_id = identity.threadId
  if (identity.runId !== undefined) fields.run_id = identity.runId
  fields.request_id = identity.requestId
  return fields
}
