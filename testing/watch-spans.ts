import { setTimeout as delay } from 'node:timers/promises'
import type { ReadableSpan } from '@opentelemetry/sdk-trace'
import { listenToSpans } from './span-source.ts'

/** The spans of this process that start from a moment on. */
export interface WatchedSpans {
  /** Those that have ended, in the order of their start. */
  readonly ended: readonly ReadableSpan[]
  /** How many have not. */
  readonly open: number
  /** Resolves with true when none is open and the rest is quiet too, or with false when the limit is over. */
  settled (isQuiet: () => boolean, limitMs: number): Promise<boolean>
  stop (): void
}

const pauseMs = 5

export function watchSpans (): WatchedSpans {
  const places = new Map<string, number>()
  const open = new Set<string>()
  const ended: ReadableSpan[] = []
  const stop = listenToSpans({
    started (span) {
      const { spanId } = span.spanContext()
      places.set(spanId, places.size)
      open.add(spanId)
    },
    ended (span) {
      if (open.delete(span.spanContext().spanId)) ended.push(span)
    }
  })
  const placeOf = (span: ReadableSpan): number => places.get(span.spanContext().spanId) ?? 0

  return {
    get ended () { return ended.toSorted((a, b) => placeOf(a) - placeOf(b)) },
    get open () { return open.size },
    async settled (isQuiet, limitMs) {
      const until = performance.now() + limitMs
      while (open.size > 0 || !isQuiet()) {
        if (performance.now() > until) return false
        await delay(pauseMs)
      }
      return true
    },
    stop
  }
}
