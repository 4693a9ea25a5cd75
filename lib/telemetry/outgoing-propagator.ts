import type { TextMapPropagator } from '@opentelemetry/api'
import { W3CTraceContextPropagator } from '@opentelemetry/core'

/**
 * W3C Trace Context, outwards only. It is the process's one propagator, so that no instrumentation takes a parent trace or
 * baggage from a client: `extract` gives back the context it got. Where a trace does come from outside and can be trusted, as
 * with a run's signed carrier, it is read explicitly.
 */
export function createOutgoingPropagator (): TextMapPropagator {
  const traceContext = new W3CTraceContextPropagator()
  return {
    inject: (context, carrier, setter) => { traceContext.inject(context, carrier, setter) },
    extract: (context) => context,
    fields: () => traceContext.fields()
  }
}
