import { setTimeout as wait } from 'node:timers/promises'
import type { Span } from '../span.ts'

export interface SettleOptions {
  /** Whether no more is awaited of a trace. */
  readonly isSettled: (spans: readonly Span[]) => boolean
  /** How long to wait for what is not there yet, in ms. */
  readonly waitMs: number
  /** How long to wait before asking again, in ms. */
  readonly pollMs: number
  readonly signal?: AbortSignal | undefined
}

/** Reads a trace again; undefined where there is none yet. */
export type Reread = (traceId: string) => Promise<readonly Span[] | undefined>

/**
 * Each trace once, as soon as it is settled; one that was not at first is read again until it is, and has not grown since the time before. When the
 * time is over, they come as they are. Those that are undefined in the end come as such. What `reread` rejects with is passed on.
 */
export async function * settleTraces (
  traces: ReadonlyMap<string, readonly Span[] | undefined>, reread: Reread, { isSettled, waitMs, pollMs, signal }: SettleOptions
): AsyncGenerator<readonly [traceId: string, spans: readonly Span[] | undefined], void> {
  const open = new Map(traces)
  const before = new Map<string, number>()
  const deadline = performance.now() + waitMs

  for (;;) {
    for (const [traceId, spans] of open) {
      const hasGrown = before.has(traceId) && before.get(traceId) !== (spans?.length ?? 0)
      before.set(traceId, spans?.length ?? 0)
      if (spans === undefined || hasGrown || !isSettled(spans)) continue
      open.delete(traceId)
      yield [traceId, spans]
    }
    const leftMs = deadline - performance.now()
    if (open.size === 0 || leftMs <= 0 || signal?.aborted === true) break
    await pause(Math.min(pollMs, leftMs), signal)
    for (const traceId of open.keys()) {
      // What was there once does not go away.
      open.set(traceId, await reread(traceId) ?? open.get(traceId))
    }
  }
  yield * open
}

/** Resolves when the time is over, or the signal has come. */
export async function pause (ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await wait(ms, undefined, signal === undefined ? {} : { signal })
  } catch {
    // Interrupted: whoever waits looks at the signal.
  }
}
