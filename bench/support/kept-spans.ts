import { trace } from '@opentelemetry/api'
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider, type ReadableSpan } from '@opentelemetry/sdk-trace'
import { registerContextManager } from '../../lib/context/context-manager.ts'

/** Every span that ends in this process, sampled all of them. */
export interface KeptSpans {
  byTrace (): ReadonlyMap<string, readonly ReadableSpan[]>
  forget (): void
}

/** To be called once, before the first span. */
export function keepSpans (): KeptSpans {
  const exporter = new InMemorySpanExporter()
  registerContextManager()
  const provider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] })
  if (!trace.setGlobalTracerProvider(provider)) throw new Error('Another tracer provider is registered in this process')
  return {
    byTrace: () => Map.groupBy(exporter.getFinishedSpans(), (span) => span.spanContext().traceId),
    forget: () => { exporter.reset() }
  }
}
