import type { AttributeValue, Span, SpanLink } from '../span.ts'
import type { FoundSpans } from './otlp-json.ts'
import { isRecord, itemsOf, kindOf, numberOf, setOwn, spanIdOf, traceIdOf } from './span-parts.ts'

/** Tags that Jaeger makes of what is no attribute in OTLP. */
const madeByJaeger: ReadonlySet<string> = new Set([
  'span.kind', 'error', 'otel.status_code', 'otel.status_description', 'otel.scope.name', 'otel.scope.version', 'w3c.tracestate'
])

/** Adds the spans of Jaeger's own JSON, the `data` of `/api/traces`, to `found`. What is not as it should be counts as absent. */
export function readJaegerJson (data: unknown, found: FoundSpans): void {
  for (const trace of itemsOf(data)) {
    if (!isRecord(trace)) continue
    const processes = isRecord(trace['processes']) ? trace['processes'] : {}
    for (const item of itemsOf(trace['spans'])) {
      const span = readSpan(item, processes)
      if (span === undefined) found.invalid += 1
      else found.spans.push(span)
    }
  }
}

function readSpan (item: unknown, processes: Readonly<Record<string, unknown>>): Span | undefined {
  if (!isRecord(item)) return undefined
  const traceId = traceIdOf(padded(item['traceID'], 32))
  const spanId = spanIdOf(padded(item['spanID'], 16))
  if (traceId === undefined || spanId === undefined) return undefined
  const process = processOf(item, processes)
  const tags = readTags(item['tags'])
  const startedAt = timeOf(item['startTime'])
  const { parentSpanId, links } = readReferences(item, traceId)
  return {
    traceId,
    spanId,
    parentSpanId,
    name: typeof item['operationName'] === 'string' ? item['operationName'] : '',
    kind: kindOf(tags['span.kind']),
    startedAt,
    endedAt: startedAt + timeOf(item['duration']),
    failed: tags['error'] === true || tags['otel.status_code'] === 'ERROR',
    attributes: Object.fromEntries(Object.entries(tags).filter(([name]) => !madeByJaeger.has(name))),
    links,
    service: typeof process['serviceName'] === 'string' ? process['serviceName'] : undefined
  }
}

/** Named by `processID`, or in the span itself. */
function processOf (item: Readonly<Record<string, unknown>>, processes: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const id = item['processID']
  const named = typeof id === 'string' && Object.hasOwn(processes, id) ? processes[id] : item['process']
  return isRecord(named) ? named : {}
}

/** The first `CHILD_OF` of the same trace is the parent; OTLP's links come as `FOLLOWS_FROM`. */
function readReferences (item: Readonly<Record<string, unknown>>, ownTraceId: string): { parentSpanId: string | undefined, links: readonly SpanLink[] } {
  let parentSpanId = spanIdOf(padded(item['parentSpanID'], 16))
  const links: SpanLink[] = []
  for (const reference of itemsOf(item['references'])) {
    if (!isRecord(reference)) continue
    const traceId = traceIdOf(padded(reference['traceID'], 32))
    const spanId = spanIdOf(padded(reference['spanID'], 16))
    if (traceId === undefined || spanId === undefined) continue
    if (reference['refType'] === 'CHILD_OF' && traceId === ownTraceId && parentSpanId === undefined) parentSpanId = spanId
    else if (spanId !== parentSpanId || traceId !== ownTraceId) links.push({ traceId, spanId })
  }
  return { parentSpanId, links }
}

function readTags (items: unknown): Readonly<Record<string, AttributeValue>> {
  const tags: Record<string, AttributeValue> = {}
  for (const item of itemsOf(items)) {
    if (!isRecord(item) || typeof item['key'] !== 'string') continue
    const { value } = item
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') setOwn(tags, item['key'], value)
  }
  return tags
}

/** Some versions write ids as numbers, without the zeros before them. */
function padded (id: unknown, length: number): unknown {
  return typeof id === 'string' && id !== '' ? id.padStart(length, '0') : id
}

/** In µs. */
function timeOf (value: unknown): number {
  const time = numberOf(value) ?? 0
  return Number.isFinite(time) && time > 0 ? time : 0
}
