import type { SeenSpan } from './seen-span.ts'

export interface United {
  /** Spans of the trace, one for each id. */
  readonly spans: readonly SeenSpan[]
  /** A sentence for each id of which two spans say different things. */
  readonly contradictions: readonly string[]
  /** How many spans were of other traces. */
  readonly strangers: number
}

const compared = [
  'parentSpanId', 'name', 'kind', 'hop', 'user', 'thread', 'run', 'request', 'connection', 'recipientUser', 'recipientThread', 'eventType', 'sequence',
  'baggageSent', 'host'
] as const satisfies readonly (keyof SeenSpan)[]

/** A span that was read twice, from two files or two pages, is one. Of one that was read while it was open and again, the later is kept. */
export function uniteDuplicates (traceId: string, seen: readonly SeenSpan[]): United {
  const byId = new Map<string, SeenSpan>()
  const contradictory = new Set<string>()
  let strangers = 0
  for (const span of seen) {
    if (span.traceId !== traceId) {
      strangers += 1
      continue
    }
    const known = byId.get(span.spanId)
    const isOngoing = known !== undefined && known.endedAt === undefined && span.endedAt !== undefined
    if (known === undefined || isOngoing) byId.set(span.spanId, span)
    else if ((known.endedAt === undefined) === (span.endedAt === undefined) && !isSame(known, span)) contradictory.add(span.spanId)
  }
  const contradictions = [...contradictory].map((spanId) => `Two different spans have the id ${spanId}`)
  return { spans: [...byId.values()], contradictions, strangers }
}

function isSame (one: SeenSpan, other: SeenSpan): boolean {
  return compared.every((field) => one[field] === other[field])
}
