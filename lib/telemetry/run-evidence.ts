import { context, trace } from '@opentelemetry/api'
import type { ReadableSpan } from '@opentelemetry/sdk-trace'
import { attributes } from '../context/attributes.ts'
import { currentIdentity } from '../context/current-thread.ts'
import { violationChannel, type Violation } from '../context/guard.ts'
import type { ConnectionId, RunId, ThreadId, UserId } from '../protocol/ids.ts'
import { Queue } from './queue.ts'
import { RunDeliveries, type Delivery } from './run-deliveries.ts'
import { toSeenSpan, type SeenSpan } from './seen-span.ts'
import { endedSpans, harmless, startedSpans } from './span-channels.ts'

export interface EvidenceLimits {
  readonly maxRuns: number
  /** Spans of all runs together. One is about 300 bytes. */
  readonly maxSpans: number
  readonly maxSpansPerTrace: number
}

/** An event as it was written to a connection. */
export interface SentRunEvent {
  readonly event: {
    readonly type: string
    readonly user_id: UserId
    readonly thread_id: ThreadId | null
    readonly run_id?: RunId
    readonly sequence?: number
    readonly replayed?: boolean
  }
  readonly connection: { readonly connectionId: ConnectionId, readonly userId: UserId, readonly threadId: ThreadId | undefined }
}

/** What was seen of one run, in the order in which it was seen. */
export interface Evidence {
  /** All spans of the traces that the run is in, whoever they name. */
  readonly traces: readonly SeenTrace[]
  readonly deliveries: readonly Delivery[]
  readonly deliveriesDropped: number
  readonly violations: readonly SeenViolation[]
}

export interface SeenTrace {
  readonly traceId: string
  readonly spans: readonly SeenSpan[]
  /** Whether its first span was seen: a trace can have begun in another process, or before what was dropped. */
  readonly fromItsBeginning: boolean
  /** Spans beyond the bound. */
  readonly dropped: number
}

/** What was found in the run, without naming whoever else it concerned. */
export interface SeenViolation extends Pick<Violation, 'place' | 'kind' | 'witness'> { readonly at: string }

interface TraceEvidence extends Omit<SeenTrace, 'spans'> {
  /** The SDK's own while it is open. */
  readonly spans: (ReadableSpan | SeenSpan)[]
  dropped: number
  readonly runs: Set<RunEntry>
  /** Of the last span that named a run: most are the same. */
  lastUser: unknown
  lastRun: unknown
}

interface RunEntry {
  readonly key: string
  ended: boolean
  readonly traces: Set<TraceEvidence>
  readonly deliveries: RunDeliveries
  readonly violations: SeenViolation[]
}

const { userId: userKey, runId: runKey, hop: hopKey, eventType: typeKey } = attributes
const maxViolations = 50

/**
 * What this process has seen of its latest runs: the spans of their traces, which events were written to which connections, and what was
 * refused. It is kept in memory and bounded: the runs that ended first are dropped first, or the oldest of which no end was seen, once these are
 * half of all. It can only be asked in the identity of the run's user; another's run is not there. It has no timers.
 */
export class RunEvidence {
  /** When it began to look. */
  readonly since = new Date().toISOString()
  readonly #limits: EvidenceLimits
  readonly #runs = new Map<string, RunEntry>()
  readonly #ended = new Queue<RunEntry>()
  readonly #traces = new Map<string, TraceEvidence>()
  /** Of which no run is known yet. Most never have one. */
  readonly #beginning = new Map<string, TraceEvidence>()
  #spans = 0
  /** Runs of which no end was seen. Some end elsewhere, and never will. */
  #open = 0
  #dropped = 0

  constructor (limits: EvidenceLimits) { this.#limits = limits }

  get size (): number { return this.#runs.size }
  /** How many runs had to make room for others. */
  get dropped (): number { return this.#dropped }

  /** Listens to the process's spans and violations. Returns what ends it. */
  listen (): () => void {
    // Both channels carry the SDK's spans, the third what the guard says.
    const started = harmless((span) => { this.#started(span as ReadableSpan) })
    const ended = harmless((span) => { this.#endedSpan(span as ReadableSpan) })
    const violated = harmless((violation) => { this.#violated(violation as Violation) })
    startedSpans.subscribe(started)
    endedSpans.subscribe(ended)
    violationChannel.subscribe(violated)
    return () => {
      startedSpans.unsubscribe(started)
      endedSpans.unsubscribe(ended)
      violationChannel.unsubscribe(violated)
    }
  }

  /** Notes an event that left for a connection. */
  sent ({ event, connection }: SentRunEvent): void {
    const { user_id: userId, run_id: runId, sequence, replayed = false } = event
    if (runId === undefined) return
    // Of an old run that is told again nothing else is known; it would drive out what is.
    const entry = this.#entryOf(userId, runId) ?? (replayed ? undefined : this.#obtain(userId, runId))
    entry?.deliveries.note(connection, event.thread_id, sequence, replayed)
    if (event.type === 'agent_completed' && entry !== undefined) this.#end(entry)
  }

  /** Of a run of the active user. Throws `THREADLINE_NO_CONTEXT` outside of an identity. */
  find (runId: RunId): Evidence | undefined {
    const entry = this.#entryOf(currentIdentity().userId, runId)
    if (entry === undefined) return undefined
    return {
      traces: [...entry.traces].map(({ traceId, spans, dropped, fromItsBeginning }) => ({
        traceId, dropped, fromItsBeginning, spans: spans.map((span) => 'resource' in span ? toSeenSpan(span) : span)
      })),
      deliveries: entry.deliveries.list(),
      deliveriesDropped: entry.deliveries.dropped,
      violations: [...entry.violations]
    }
  }

  #started (span: ReadableSpan): void {
    const { [userKey]: userId, [runKey]: runId } = span.attributes
    const seen = this.#traceOf(span, runId !== undefined)
    if (seen === undefined) return
    if (seen.spans.length >= this.#limits.maxSpansPerTrace) seen.dropped += 1
    else {
      seen.spans.push(span)
      if (seen.runs.size > 0) this.#spans += 1
    }
    const same = runId === seen.lastRun && userId === seen.lastUser
    if (!same && typeof runId === 'string' && typeof userId === 'string') this.#attach(seen, userId, runId)
    if (this.#spans > this.#limits.maxSpans) this.#makeRoom()
  }

  #traceOf (span: ReadableSpan, namesRun: boolean): TraceEvidence | undefined {
    const { traceId } = span.spanContext()
    const known = this.#traces.get(traceId) ?? this.#beginning.get(traceId)
    if (known !== undefined) return known
    const fromItsBeginning = span.parentSpanContext === undefined
    if (!fromItsBeginning && !namesRun) return undefined
    const seen: TraceEvidence = { traceId, spans: [], fromItsBeginning, dropped: 0, runs: new Set(), lastUser: undefined, lastRun: undefined }
    this.#beginning.set(traceId, seen)
    if (this.#beginning.size > this.#limits.maxRuns) this.#beginning.delete(firstOf(this.#beginning)?.traceId ?? '')
    return seen
  }

  #endedSpan (span: ReadableSpan): void {
    const { traceId } = span.spanContext()
    const known = this.#traces.get(traceId)
    if (known === undefined && span.parentSpanContext === undefined) this.#beginning.delete(traceId)
    const seen = known ?? this.#beginning.get(traceId)
    // Most end soon after they have started.
    const index = seen?.spans.lastIndexOf(span) ?? -1
    if (seen !== undefined && index !== -1) seen.spans[index] = toSeenSpan(span)
    const { attributes: said } = span
    if (said[hopKey] !== 'emitter' || said[typeKey] !== 'agent_completed') return
    const { [userKey]: userId, [runKey]: runId } = said
    const entry = typeof userId === 'string' && typeof runId === 'string' ? this.#entryOf(userId, runId) : undefined
    if (entry !== undefined) this.#end(entry)
  }

  #violated ({ place, kind, witness, identity, owner }: Violation): void {
    const traceId = trace.getSpanContext(context.active())?.traceId
    const concerned = new Set(traceId === undefined ? [] : this.#traces.get(traceId)?.runs)
    for (const { userId, runId } of [identity, owner].filter((one) => one !== undefined)) {
      const entry = runId === undefined ? undefined : this.#entryOf(userId, runId)
      if (entry !== undefined) concerned.add(entry)
    }
    const seen = { place, kind, witness, at: new Date().toISOString() }
    for (const { violations } of concerned) if (violations.length < maxViolations) violations.push(seen)
  }

  #attach (seen: TraceEvidence, userId: string, runId: string): void {
    const entry = this.#obtain(userId, runId)
    seen.lastUser = userId
    seen.lastRun = runId
    if (seen.runs.has(entry)) return
    if (seen.runs.size === 0) {
      this.#beginning.delete(seen.traceId)
      this.#traces.set(seen.traceId, seen)
      this.#spans += seen.spans.length
    }
    seen.runs.add(entry)
    entry.traces.add(seen)
  }

  #entryOf (userId: string, runId: string): RunEntry | undefined {
    return this.#runs.get(keyOf(userId, runId))
  }

  #obtain (userId: string, runId: string): RunEntry {
    const known = this.#entryOf(userId, runId)
    if (known !== undefined) return known
    const entry: RunEntry = { key: keyOf(userId, runId), ended: false, traces: new Set(), deliveries: new RunDeliveries(), violations: [] }
    this.#runs.set(entry.key, entry)
    this.#open += 1
    this.#makeRoom()
    return entry
  }

  #end (entry: RunEntry): void {
    if (entry.ended) return
    entry.ended = true
    this.#open -= 1
    this.#ended.add(entry)
  }

  #makeRoom (): void {
    while (this.size > this.#limits.maxRuns || (this.#spans > this.#limits.maxSpans && this.size > 1)) {
      const entry = this.#leastMissed()
      if (entry === undefined) return
      this.#runs.delete(entry.key)
      if (!entry.ended) this.#open -= 1
      this.#dropped += 1
      for (const seen of entry.traces) {
        seen.runs.delete(entry)
        seen.lastRun = undefined
        if (seen.runs.size > 0) continue
        this.#traces.delete(seen.traceId)
        this.#spans -= seen.spans.length
      }
    }
  }

  /** One that has ended, unless half of all, besides the newest, have not: those would push out the reports of all others. */
  #leastMissed (): RunEntry | undefined {
    const ended = (this.#open - 1) * 2 > this.#limits.maxRuns ? undefined : this.#ended.take()
    if (ended !== undefined) return ended
    for (const entry of this.#runs.values()) if (!entry.ended) return entry
    return this.#ended.take()
  }
}

/** A run is looked for with its user, so that nobody finds another's. */
function keyOf (userId: string, runId: string): string {
  return `${runId}/${userId}`
}

function firstOf<Value> (map: ReadonlyMap<string, Value>): Value | undefined {
  for (const value of map.values()) return value
  return undefined
}
