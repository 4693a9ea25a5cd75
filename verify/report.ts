import type { RuleId } from './rules/rule.ts'

/** The identity that a span carries. */
export interface SeenIdentity {
  readonly userId?: string | undefined
  readonly threadId?: string | undefined
  readonly runId?: string | undefined
  readonly requestId?: string | undefined
}

/** A hop of a trace, as it was seen. */
export interface SeenHop {
  readonly hop: string
  readonly spanId: string
  readonly parentSpanId?: string | undefined
  readonly name: string
  readonly service?: string | undefined
  /** In µs since 1970. */
  readonly startedAt: number
  readonly endedAt?: number | undefined
  readonly identity: SeenIdentity
  readonly connectionId?: string | undefined
  /** Whose the connection is that an event was written to. */
  readonly recipient?: { readonly userId?: string | undefined, readonly threadId?: string | undefined } | undefined
  readonly eventType?: string | undefined
  readonly sequence?: number | undefined
}

/** Where a trace was right for the last time. */
export interface LastRight { readonly hop: string | undefined, readonly spanId: string, readonly name: string }

/** One place at which a rule does not hold. */
export interface Finding {
  readonly rule: RuleId
  readonly traceId: string
  /** The span that the rule points at. */
  readonly spanId: string
  readonly spanName: string
  /** Its hop, or the one that is missing; of a span that is no hop, the nearest one above it. */
  readonly hop: string | undefined
  readonly service?: string | undefined
  /** A sentence that names what was expected and what was seen. */
  readonly message: string
  readonly expected?: string | undefined
  readonly actual?: string | undefined
  readonly lastRight?: LastRight | undefined
}

/**
 * `clean`: every rule was checked and holds. `findings`: at least one does not. `incomplete`: nothing wrong was seen, but not everything
 * was there to be seen.
 */
export type Verdict = 'clean' | 'findings' | 'incomplete'

export interface TraceReport {
  readonly traceId: string
  readonly verdict: Verdict
  readonly spans: number
  /** In the order of the message's way: by time, a parent before its children. */
  readonly hops: readonly SeenHop[]
  readonly findings: readonly Finding[]
  /** Why something could not be checked, a sentence each. */
  readonly incomplete: readonly string[]
}

/** Of everything that was verified. Traces that are clean are counted, and only kept where they are asked for. */
export interface Report {
  readonly verdict: Verdict
  readonly spans: number
  readonly traces: { readonly checked: number, readonly clean: number, readonly withFindings: number, readonly incomplete: number }
  readonly findings: readonly Finding[]
  /** What could not be read or checked, a sentence each: of sources, and of traces. */
  readonly incomplete: readonly string[]
}
