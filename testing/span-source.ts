import { propagation, trace } from '@opentelemetry/api'
import { TracerProvider, type ReadableSpan, type SpanProcessor } from '@opentelemetry/sdk-trace'
import { registerContextManager } from '../lib/context/context-manager.ts'
import { createInheritanceCheck } from '../lib/telemetry/inheritance-check.ts'
import { instrumentBuiltins } from '../lib/telemetry/instrument-builtins.ts'
import { createInstrumentations } from '../lib/telemetry/instrumentations.ts'
import { createOutgoingPropagator } from '../lib/telemetry/outgoing-propagator.ts'

/** Told of each span of this process, in the context in which it starts or ends. */
export interface SpanListener {
  started? (span: ReadableSpan): void
  ended? (span: ReadableSpan): void
}

const listeners = new Set<SpanListener>()
let registered = false

/**
 * Tells a listener of all spans of this process from now on, every one of them sampled, with the HTTP instrumentation and the inheritance
 * check of the preload. However many listen, there is one tracer provider, registered by the first: that has to happen before the first span. Throws when
 * somebody else's provider is registered, such as that of the preload `telemetry.ts`. Returns what takes the listener away.
 */
export function listenToSpans (listener: SpanListener): () => void {
  if (!registered) register()
  registered = true
  listeners.add(listener)
  return () => { listeners.delete(listener) }
}

function register (): void {
  registerContextManager()
  const provider = new TracerProvider({ spanProcessors: [createInheritanceCheck(), telling] })
  if (!trace.setGlobalTracerProvider(provider)) {
    throw new Error('Another tracer provider is registered in this process: run without it (no --import of telemetry), so that every span is seen')
  }
  propagation.setGlobalPropagator(createOutgoingPropagator())
  createInstrumentations(new Set())
  instrumentBuiltins()
}

const telling: SpanProcessor = {
  onStart (span) { for (const listener of listeners) listener.started?.(span) },
  onEnd (span) { for (const listener of listeners) listener.ended?.(span) },
  async forceFlush () {},
  async shutdown () {}
}
