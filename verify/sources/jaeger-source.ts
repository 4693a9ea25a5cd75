import type { Span } from '../span.ts'
import type { JaegerQuery, JaegerSearch } from './jaeger-query.ts'
import { reasonOf, type Notices } from './notices.ts'
import { pause, settleTraces, type SettleOptions } from './settle.ts'

export interface JaegerSourceOptions extends SettleOptions {
  /** Where it is, for notices. */
  readonly name: string
  readonly notices: Notices
}

/** How many searches one source makes at most: each splits a window in which there are more traces than were asked for at once. */
const maxSearches = 2000

/** The spans of traces, each settled. One that is not there when the time is over is a problem. It never throws. */
export async function * readJaegerTraces (
  query: JaegerQuery, traceIds: readonly string[], options: JaegerSourceOptions
): AsyncGenerator<readonly Span[], void> {
  const traces = new Map<string, readonly Span[] | undefined>()
  yield * tellingFailure(options, async function * () {
    for (const traceId of traceIds) traces.set(traceId, await query.trace(traceId))
    yield * settled(traces, query, options)
  })
  // Read, and not settled before it failed.
  for (const spans of traces.values()) if (spans !== undefined) yield spans
}

/**
 * The spans of the traces of a time window, each trace once, and settled. Where there are more than were asked for at once, each half of the
 * window is asked for, and so on; a millisecond that holds more is a problem. While traces of a window that has just ended are waited for, or there
 * are none yet, others may come: they are looked for again. It never throws.
 */
export async function * searchJaeger (query: JaegerQuery, search: JaegerSearch, options: JaegerSourceOptions): AsyncGenerator<readonly Span[], void> {
  const unsettled = new Map<string, readonly Span[]>()
  const seen = new Set<string>()
  const deadline = performance.now() + (Date.now() - search.endMs > options.waitMs ? 0 : options.waitMs)
  yield * tellingFailure(options, async function * () {
    for (;;) {
      for await (const [traceId, spans] of findTraces(query, search, seen, options)) {
        if (options.isSettled(spans)) yield spans
        else unsettled.set(traceId, spans)
      }
      const waitMs = Math.max(0, deadline - performance.now())
      const isDone = (unsettled.size === 0 && seen.size > 0) || waitMs === 0
      if (unsettled.size > 0) yield * settled(unsettled, query, { ...options, waitMs })
      else if (!isDone) await pause(Math.min(options.pollMs, waitMs), options.signal)
      if (isDone || options.signal?.aborted === true) return
    }
  })
  yield * unsettled.values()
}

/** Takes each trace out of `traces` when it is told. */
async function * settled (
  traces: Map<string, readonly Span[] | undefined>, query: JaegerQuery, options: JaegerSourceOptions
): AsyncGenerator<readonly Span[], void> {
  for await (const [traceId, spans] of settleTraces(traces, async (traceId) => await query.trace(traceId), options)) {
    traces.delete(traceId)
    if (spans !== undefined) yield spans
    else options.notices.problem(`Could not read trace ${traceId} from ${options.name}: it is not there`)
  }
}

async function * tellingFailure (
  { name, notices }: JaegerSourceOptions, read: () => AsyncGenerator<readonly Span[], void>
): AsyncGenerator<readonly Span[], void> {
  try {
    yield * read()
  } catch (error) {
    notices.problem(`Could not read from ${name}: ${reasonOf(error)}`)
  }
}

/** Those that were not seen before. */
async function * findTraces (
  query: JaegerQuery, search: JaegerSearch, seen: Set<string>, { name, notices, signal }: JaegerSourceOptions
): AsyncGenerator<readonly [traceId: string, spans: readonly Span[]], void> {
  const windows = [search]
  for (let searches = 0; windows.length > 0; searches += 1) {
    if (signal?.aborted === true) return
    if (searches === maxSearches) {
      notices.problem(`Could not read everything from ${name}: more than ${maxSearches} searches would be needed, ask for a shorter time`)
      return
    }
    const window = windows.pop() ?? search
    const { spans, isFull } = await query.find(window)
    for (const [traceId, trace] of Map.groupBy(spans, (span) => span.traceId)) {
      if (seen.has(traceId)) continue
      seen.add(traceId)
      yield [traceId, trace]
    }
    if (!isFull) continue
    if (window.endMs - window.startMs > 1) windows.push(...halves(window))
    else notices.problem(`Could not read everything from ${name}: more than ${window.limit} traces in one millisecond`)
  }
}

/** The earlier half is asked for first: it comes last. */
function halves (window: JaegerSearch): readonly [JaegerSearch, JaegerSearch] {
  const middleMs = Math.floor((window.startMs + window.endMs) / 2)
  return [{ ...window, startMs: middleMs }, { ...window, endMs: middleMs }]
}
