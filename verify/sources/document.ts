import { readJaegerJson } from './jaeger-json.ts'
import { readOtlpJson, type FoundSpans } from './otlp-json.ts'
import { isRecord, itemsOf } from './span-parts.ts'

/** What a JSON document turned out to be. */
export type DocumentKind =
  | { readonly kind: 'traces' }
  /** OTLP's logs, metrics or profiles. */
  | { readonly kind: 'other-signal' }
  /** Jaeger says that something is wrong. */
  | { readonly kind: 'error', readonly message: string }
  | { readonly kind: 'unknown' }

const otherSignals = ['resourceLogs', 'resourceMetrics', 'resourceProfiles']

/**
 * Adds the spans of a document to `found`, whichever of these it is: OTLP's JSON, the same in the `result` of Jaeger's `/api/v3/traces`, or
 * the `data` of its `/api/traces`.
 */
export function readDocument (document: unknown, found: FoundSpans): DocumentKind {
  if (!isRecord(document)) return { kind: 'unknown' }
  if (isRecord(document['error'])) return { kind: 'error', message: messageOf(document['error']) }
  return readBody(isRecord(document['result']) ? document['result'] : document, found)
}

function readBody (document: Readonly<Record<string, unknown>>, found: FoundSpans): DocumentKind {
  const { data } = document
  const wrong = itemsOf(document['errors'])[0]
  if (Array.isArray(data) && data.every(isTrace)) readJaegerJson(data, found)
  else if (Array.isArray(document['resourceSpans'])) readOtlpJson(document['resourceSpans'], found)
  else if (wrong === undefined) return otherSignals.some((name) => name in document) ? { kind: 'other-signal' } : emptyOrUnknown(document)
  return wrong === undefined ? { kind: 'traces' } : { kind: 'error', message: messageOf(wrong) }
}

function isTrace (item: unknown): boolean {
  return isRecord(item) && 'traceID' in item && Array.isArray(item['spans'])
}

/** An empty message is written as `{}`, and Jaeger writes no data as null. */
function emptyOrUnknown (document: Readonly<Record<string, unknown>>): DocumentKind {
  const isEmpty = Object.keys(document).length === 0 || (document['data'] === null && 'total' in document)
  return { kind: isEmpty ? 'traces' : 'unknown' }
}

/** As Jaeger writes errors: `msg` in its first API, `message` in the third. */
function messageOf (error: unknown): string {
  const message = isRecord(error) ? error['msg'] ?? error['message'] : undefined
  return typeof message === 'string' && message !== '' ? message.slice(0, 500) : 'an error without a message'
}
