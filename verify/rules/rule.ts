import type { Profile } from '../profile.ts'
import type { Finding, LastRight } from '../report.ts'
import type { Node, TraceIndex } from '../trace-index.ts'

/** The rules, each told in `docs/rules/` with an example and a fix. Contract: a number is never given to another rule. */
export const ruleIds = [
  'CTX001', 'CTX002', 'CTX003', 'CTX004', 'CTX005', 'CTX006', 'CTX007', 'CTX008', 'CTX009', 'CTX010'
] as const
export type RuleId = typeof ruleIds[number]

export const ruleTitles: Readonly<Record<RuleId, string>> = {
  CTX001: 'hop missing',
  CTX002: 'identity missing on a span',
  CTX003: 'thread changed',
  CTX004: 'user changed',
  CTX005: 'run changed',
  CTX006: 'orphan span',
  CTX007: 'event delivered to a connection of another thread or user',
  CTX008: 'run without exactly one terminal event',
  CTX009: 'baggage sent to a foreign host',
  CTX010: 'two users in one trace'
}

/** What a rule says of a trace. */
export interface Judgement extends Omit<Finding, 'rule'> {
  /** Something is not there, and may only not be there yet: no finding before the trace is settled. */
  readonly awaited?: boolean
}

/** Looks at one trace. It is pure, and takes time in proportion to the trace. */
export type Rule = (trace: TraceIndex, profile: Profile) => readonly Judgement[]

export interface Told {
  readonly message: string
  /** The hop that is missing; else it is the span's own, or that of the nearest hop above it. */
  readonly hop?: string
  readonly expected?: string | undefined
  readonly actual?: string | undefined
  readonly lastRight?: Node | undefined
  readonly awaited?: boolean
}

/** A judgement that points at a span. */
export function judge ({ span, hop, hopAbove }: Node, { lastRight, hop: missing, ...told }: Told): Judgement {
  return {
    traceId: span.traceId,
    spanId: span.spanId,
    spanName: span.name,
    hop: missing ?? hop?.name ?? hopAbove?.hop?.name,
    service: span.service,
    ...told,
    ...(lastRight === undefined ? {} : { lastRight: lastRightOf(lastRight) })
  }
}

function lastRightOf ({ span, hop, hopAbove }: Node): LastRight {
  return { hop: hop?.name ?? hopAbove?.hop?.name, spanId: span.spanId, name: span.name }
}

/** A span in a sentence: its hop, with its name where that says more. */
export function nameOf ({ span, hop }: Node): string {
  if (hop === undefined || hop.name === span.name) return span.name === '' ? `span ${span.spanId}` : span.name
  return span.name === '' ? hop.name : `${hop.name} (${span.name})`
}
