import { propagation, trace } from '@opentelemetry/api'
import {
  InMemorySpanExporter, SimpleSpanProcessor, TracerProvider, type ReadableSpan, type SpanProcessor
} from '@opentelemetry/sdk-trace'
import { attributes } from '../../lib/context/attributes.ts'
import { registerContextManager } from '../../lib/context/context-manager.ts'
import { instrumentBuiltins } from '../../lib/telemetry/instrument-builtins.ts'
import { createInstrumentations } from '../../lib/telemetry/instrumentations.ts'
import { createOutgoingPropagator } from '../../lib/telemetry/outgoing-propagator.ts'

/** The ended spans of this process, every one of them sampled. Lists are in order of start. */
export interface SpanCollection {
  spans (): readonly ReadableSpan[]
  byTrace (): ReadonlyMap<string, readonly ReadableSpan[]>
  /** The hops of one trace, in order, by name. */
  hops (traceId: string): readonly string[]
  /** What `find` returns, as soon as it is something: it is asked at once and after each further span. */
  until<T> (find: (spans: readonly ReadableSpan[]) => T | undefined): Promise<T>
  /** Forgets the spans so far. */
  reset (): void
}

let collection: SpanCollection | undefined

/**
 * Collects spans in memory, with the HTTP instrumentation of the preload. There is one collection in a process, whoever asks; it is to
 * be asked for before the first span. Throws when another provider is registered.
 */
export function collectSpans (): SpanCollection {
  return collection ??= startCollection()
}

function startCollection (): SpanCollection {
  const exporter = new InMemorySpanExporter()
  const waiting = new Set<() => void>()
  // A span's own start is known to the millisecond only.
  const started = new Map<string, number>()
  const placeOf = (span: ReadableSpan): number => started.get(span.spanContext().spanId) ?? 0
  const tell: SpanProcessor = {
    onStart (span) { started.set(span.spanContext().spanId, started.size) },
    onEnd () { for (const ask of waiting) ask() },
    async forceFlush () {},
    async shutdown () {}
  }
  const provider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter }), tell] })

  registerContextManager()
  if (!trace.setGlobalTracerProvider(provider)) throw new Error('Another tracer provider is registered in this process')
  propagation.setGlobalPropagator(createOutgoingPropagator())
  createInstrumentations(new Set())
  instrumentBuiltins()

  const spans = () => exporter.getFinishedSpans().toSorted((a, b) => placeOf(a) - placeOf(b))
  const byTrace = () => Map.groupBy(spans(), (span) => span.spanContext().traceId)
  return {
    spans,
    byTrace,
    hops: (traceId) => (byTrace().get(traceId) ?? []).flatMap((span) => span.attributes[attributes.hop]?.toString() ?? []),
    until: async (find) => await new Promise((resolve, reject) => {
      const ask = () => {
        try {
          const found = find(spans())
          if (found === undefined) return
          resolve(found)
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)))
        }
        waiting.delete(ask)
      }
      waiting.add(ask)
      ask()
    }),
    reset: () => { exporter.reset() }
  }
}
