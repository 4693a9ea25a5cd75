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
  'parentSpanId', 'name', 'kind', 'service', 'failed', 'hop', 'user', 'thread', 'run', 'request', 'connection', 'recipientUser', 'recipientThread', 'eventType', 'sequence',
  'baggageSent', 'host', 'port', 'errorType', 'violation'
] as const satisfies readonly (keyof SeenSpan)[]

/** What a span does not change once it has said it. */
const lasting = ['user', 'thread', 'run', 'recipientUser', 'recipientThread'] as const satisfies readonly (keyof SeenSpan)[]

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
    if (known === undefined || (known.endedAt === undefined && span.endedAt !== undefined)) byId.set(span.spanId, span)
    if (known !== undefined && contradicts(known, span)) contradictory.add(span.spanId)
  }
  const contradictions = [...contradictory].map((spanId) => `Two different spans have the id ${spanId}`)
  return { spans: [...byId.values()], contradictions, strangers }
}

/** One that is open may have things to say yet. */
function contradicts (one: SeenSpan, other: SeenSpan): boolean {
  if ((one.endedAt === undefined) === (other.endedAt === undefined)) return compared.some((field) => one[field] !== other[field])
  return lasting.some((field) => one[field] !== undefined && other[field] !== undefined && one[field] !== other[field])
}
