import type { ReadableSpan } from '@opentelemetry/sdk-trace'
import { attributes } from '../../lib/context/attributes.ts'
import { listenToSpans } from '../../testing/span-source.ts'

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
  const waiting = new Set<() => void>()
  // A span's own start is known to the millisecond only.
  const started = new Map<string, number>()
  const placeOf = (span: ReadableSpan): number => started.get(span.spanContext().spanId) ?? 0
  let ended: ReadableSpan[] = []
  listenToSpans({
    started (span) { started.set(span.spanContext().spanId, started.size) },
    ended (span) {
      ended.push(span)
      for (const ask of waiting) ask()
    }
  })

  const spans = () => ended.toSorted((a, b) => placeOf(a) - placeOf(b))
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
    reset: () => { ended = [] }
  }
}
