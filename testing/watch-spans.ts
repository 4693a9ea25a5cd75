import { setTimeout as delay } from 'node:timers/promises'
import type { ReadableSpan } from '@opentelemetry/sdk-trace'
import { listenToSpans } from './span-source.ts'

/** The spans of this process that start from a moment on. */
export interface WatchedSpans {
  /** All of them, in the order of their start, those that are open too. */
  readonly all: readonly ReadableSpan[]
  /** How many have not. */
  readonly open: number
  /** Resolves with true when none is open and the rest is quiet too, or with false when the limit is over. */
  settled (isQuiet: () => boolean, limitMs: number): Promise<boolean>
  stop (): void
}

const pauseMs = 5

export function watchSpans (): WatchedSpans {
  const all: ReadableSpan[] = []
  const open = new Set<string>()
  const stop = listenToSpans({
    started (span) {
      all.push(span)
      open.add(span.spanContext().spanId)
    },
    ended (span) { open.delete(span.spanContext().spanId) }
  })

  return {
    all,
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
