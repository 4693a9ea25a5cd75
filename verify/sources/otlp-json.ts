import type { AttributeValue, Span, SpanLink } from '../span.ts'
import {
  attributeValueOf, integerOf, isRecord, itemsOf, kindOf, maxDepth, microsecondsOf, numberOf, setOwn, spanIdOf, traceIdOf, type PlainValue
} from './span-parts.ts'

/** Spans that were found in a document, and how many more there are that nothing can be done with: they have no valid ids, or are not where they have to be. */
export interface FoundSpans {
  readonly spans: Span[]
  invalid: number
}

/**
 * Adds the spans of OTLP's JSON (`TracesData` and `ExportTraceServiceRequest` are the same: `resourceSpans`) to `found`. Whatever is not as
 * it should be counts as absent. Source: the OpenTelemetry protocol 1.9, JSON Protobuf encoding.
 */
export function readOtlpJson (resourceSpans: unknown, found: FoundSpans): void {
  for (const resourceSpan of itemsOf(resourceSpans)) {
    if (!isRecord(resourceSpan)) {
      found.invalid += 1
      continue
    }
    const resource = isRecord(resourceSpan['resource']) ? readAttributes(resourceSpan['resource']['attributes']) : {}
    const service = typeof resource['service.name'] === 'string' ? resource['service.name'] : undefined
    if (formerNames.some((name) => name in resourceSpan)) found.invalid += 1
    for (const scopeSpan of listOf(resourceSpan['scopeSpans'], found)) {
      if (!isRecord(scopeSpan)) {
        found.invalid += 1
        continue
      }
      for (const item of listOf(scopeSpan['spans'], found)) {
        const span = readSpan(item, service)
        if (span === undefined) found.invalid += 1
        else found.spans.push(span)
      }
    }
  }
}

/** How `scopeSpans` was called before OTLP 0.19, and how protobuf itself would call it, which OTLP does not allow: spans are below it. */
const formerNames = ['scope_spans', 'instrumentationLibrarySpans', 'instrumentation_library_spans']

/** Its items; what is there and no list may hold spans, which cannot be read. */
function listOf (value: unknown, found: FoundSpans): readonly unknown[] {
  if (value !== undefined && value !== null && !Array.isArray(value)) found.invalid += 1
  return itemsOf(value)
}

function readSpan (item: unknown, service: string | undefined): Span | undefined {
  if (!isRecord(item)) return undefined
  const traceId = traceIdOf(item['traceId'])
  const spanId = spanIdOf(item['spanId'])
  if (traceId === undefined || spanId === undefined) return undefined
  const status = isRecord(item['status']) ? item['status']['code'] : undefined
  return {
    traceId,
    spanId,
    parentSpanId: spanIdOf(item['parentSpanId']),
    name: typeof item['name'] === 'string' ? item['name'] : '',
    kind: kindOf(item['kind']),
    startedAt: microsecondsOf(item['startTimeUnixNano']) ?? 0,
    endedAt: microsecondsOf(item['endTimeUnixNano']),
    failed: status === 2 || status === 'STATUS_CODE_ERROR',
    attributes: readAttributes(item['attributes']),
    links: readLinks(item['links']),
    service
  }
}

function readLinks (items: unknown): readonly SpanLink[] {
  return itemsOf(items).flatMap((item) => {
    if (!isRecord(item)) return []
    const traceId = traceIdOf(item['traceId'])
    const spanId = spanIdOf(item['spanId'])
    return traceId === undefined || spanId === undefined ? [] : [{ traceId, spanId }]
  })
}

function readAttributes (items: unknown): Readonly<Record<string, AttributeValue>> {
  const attributes: Record<string, AttributeValue> = {}
  for (const item of itemsOf(items)) {
    if (!isRecord(item) || typeof item['key'] !== 'string') continue
    const value = attributeValueOf(plainValue(item['value'], maxDepth))
    if (value !== undefined) setOwn(attributes, item['key'], value)
  }
  return attributes
}

function plainValue (value: unknown, depth: number): PlainValue {
  if (!isRecord(value) || depth === 0) return null
  if (typeof value['stringValue'] === 'string') return value['stringValue']
  if (typeof value['boolValue'] === 'boolean') return value['boolValue']
  if (value['intValue'] !== undefined) return integerOf(value['intValue']) ?? null
  if (value['doubleValue'] !== undefined) return numberOf(value['doubleValue']) ?? null
  if (typeof value['bytesValue'] === 'string') return value['bytesValue']
  if (isRecord(value['arrayValue'])) return itemsOf(value['arrayValue']['values']).map((item) => plainValue(item, depth - 1))
  if (isRecord(value['kvlistValue'])) return plainRecord(itemsOf(value['kvlistValue']['values']), depth - 1)
  return null
}

function plainRecord (items: readonly unknown[], depth: number): PlainValue {
  const record: Record<string, PlainValue> = {}
  for (const item of items) {
    if (isRecord(item) && typeof item['key'] === 'string') setOwn(record, item['key'], plainValue(item['value'], depth))
  }
  return record
}
