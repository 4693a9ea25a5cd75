import { BinaryReader, WireType } from '@bufbuild/protobuf/wire'
import type { AttributeValue, SpanLink } from '../span.ts'
import type { FoundSpans } from './otlp-json.ts'
import { attributeValueOf, integerOf, kindOf, maxDepth, microsecondsOf, setOwn, spanIdOf, traceIdOf, type PlainValue } from './span-parts.ts'

/** A field as its tag has it: its number, and how it is written. */
const lengthDelimited = (number: number): number => number << 3 | WireType.LengthDelimited
const varint = (number: number): number => number << 3 | WireType.Varint
const bits64 = (number: number): number => number << 3 | WireType.Bit64

/** The fields of opentelemetry-proto, trace v1 and common v1, that are read. */
const fields = {
  traces: { resourceSpans: lengthDelimited(1) },
  resourceSpans: { resource: lengthDelimited(1), scopeSpans: lengthDelimited(2) },
  resource: { attributes: lengthDelimited(1) },
  scopeSpans: { spans: lengthDelimited(2) },
  span: {
    traceId: lengthDelimited(1),
    spanId: lengthDelimited(2),
    parentSpanId: lengthDelimited(4),
    name: lengthDelimited(5),
    kind: varint(6),
    start: bits64(7),
    end: bits64(8),
    attributes: lengthDelimited(9),
    links: lengthDelimited(13),
    status: lengthDelimited(15)
  },
  link: { traceId: lengthDelimited(1), spanId: lengthDelimited(2) },
  status: { code: varint(3) },
  keyValue: { key: lengthDelimited(1), value: lengthDelimited(2) },
  value: {
    string: lengthDelimited(1), bool: varint(2), int: varint(3), double: bits64(4), array: lengthDelimited(5), record: lengthDelimited(6), bytes: lengthDelimited(7)
  },
  values: { values: lengthDelimited(1) }
} as const

/**
 * Adds the spans of a `TracesData` or `ExportTraceServiceRequest` to `found`, up to the first place that is no protobuf: there it throws. A
 * length beyond what is there is such a place. Unknown fields are passed over.
 */
export function readOtlpProtobuf (bytes: Uint8Array, found: FoundSpans): void {
  const reader = new BinaryReader(bytes)
  readFields(reader, bytes.length, (field) => {
    if (field !== fields.traces.resourceSpans) return false
    readResourceSpans(reader, nestedEnd(reader, bytes.length), found)
    return true
  })
}

/** Reads a message up to `end`. `read` says whether it took the field. */
function readFields (reader: BinaryReader, end: number, read: (field: number) => boolean): void {
  while (reader.pos < end) {
    const [number, wireType] = reader.tag()
    if (!read(number << 3 | wireType)) reader.skip(wireType, number)
  }
  if (reader.pos > end) throw new RangeError('a field is longer than its message')
}

function nestedEnd (reader: BinaryReader, end: number): number {
  const nested = reader.uint32() + reader.pos
  if (nested > end) throw new RangeError('a length goes beyond its message')
  return nested
}

function readResourceSpans (reader: BinaryReader, end: number, found: FoundSpans): void {
  const resource: Record<string, AttributeValue> = {}
  // A resource may come after its spans: its place in the message is free.
  const scopes: (readonly [start: number, end: number])[] = []
  readFields(reader, end, (field) => {
    if (field === fields.resourceSpans.resource) {
      const resourceEnd = nestedEnd(reader, end)
      readFields(reader, resourceEnd, (inner) => inner === fields.resource.attributes && readAttribute(reader, resourceEnd, resource))
      return true
    }
    if (field !== fields.resourceSpans.scopeSpans) return false
    const scopeEnd = nestedEnd(reader, end)
    scopes.push([reader.pos, scopeEnd])
    reader.pos = scopeEnd
    return true
  })
  const service = typeof resource['service.name'] === 'string' ? resource['service.name'] : undefined
  for (const [start, scopeEnd] of scopes) {
    reader.pos = start
    readFields(reader, scopeEnd, (field) => field === fields.scopeSpans.spans && readSpan(reader, nestedEnd(reader, scopeEnd), service, found))
  }
  reader.pos = end
}

function readSpan (reader: BinaryReader, end: number, service: string | undefined, found: FoundSpans): true {
  const attributes: Record<string, AttributeValue> = {}
  const links: SpanLink[] = []
  const ids: { trace?: string | undefined, span?: string | undefined, parent?: string | undefined } = {}
  const rest: { name: string, kind: number, startedAt: number, endedAt: number | undefined, failed: boolean } =
    { name: '', kind: 0, startedAt: 0, endedAt: undefined, failed: false }

  readFields(reader, end, (field) => {
    switch (field) {
      case fields.span.traceId: ids.trace = traceIdOf(readHex(reader)); break
      case fields.span.spanId: ids.span = spanIdOf(readHex(reader)); break
      case fields.span.parentSpanId: ids.parent = spanIdOf(readHex(reader)); break
      case fields.span.name: rest.name = reader.string(); break
      case fields.span.kind: rest.kind = reader.int32(); break
      case fields.span.start: rest.startedAt = microsecondsOf(reader.fixed64()) ?? 0; break
      case fields.span.end: rest.endedAt = microsecondsOf(reader.fixed64()); break
      case fields.span.attributes: return readAttribute(reader, end, attributes)
      case fields.span.links: readLink(reader, nestedEnd(reader, end), links); break
      case fields.span.status: rest.failed = readStatus(reader, nestedEnd(reader, end)) === 2; break
      default: return false
    }
    return true
  })

  if (ids.trace === undefined || ids.span === undefined) {
    found.invalid += 1
    return true
  }
  const { name, startedAt, endedAt, failed } = rest
  found.spans.push({
    traceId: ids.trace, spanId: ids.span, parentSpanId: ids.parent, name, kind: kindOf(rest.kind), startedAt, endedAt, failed, attributes, links, service
  })
  return true
}

function readHex (reader: BinaryReader): string {
  const bytes = reader.bytes()
  // No id is longer; a huge one is not worth its text.
  return bytes.length > 16 ? '' : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')
}

function readLink (reader: BinaryReader, end: number, links: SpanLink[]): void {
  let traceId: string | undefined
  let spanId: string | undefined
  readFields(reader, end, (field) => {
    if (field === fields.link.traceId) traceId = traceIdOf(readHex(reader))
    else if (field === fields.link.spanId) spanId = spanIdOf(readHex(reader))
    else return false
    return true
  })
  if (traceId !== undefined && spanId !== undefined) links.push({ traceId, spanId })
}

function readStatus (reader: BinaryReader, end: number): number {
  let code = 0
  readFields(reader, end, (field) => {
    if (field !== fields.status.code) return false
    code = reader.int32()
    return true
  })
  return code
}

function readAttribute (reader: BinaryReader, end: number, attributes: Record<string, AttributeValue>): true {
  const [key, value] = readKeyValue(reader, nestedEnd(reader, end), maxDepth)
  const attribute = attributeValueOf(value)
  if (attribute !== undefined) setOwn(attributes, key, attribute)
  return true
}

function readKeyValue (reader: BinaryReader, end: number, depth: number): readonly [key: string, value: PlainValue] {
  let key = ''
  let value: PlainValue = null
  readFields(reader, end, (field) => {
    if (field === fields.keyValue.key) key = reader.string()
    else if (field === fields.keyValue.value) value = readValue(reader, nestedEnd(reader, end), depth)
    else return false
    return true
  })
  return [key, value]
}

function readValue (reader: BinaryReader, end: number, depth: number): PlainValue {
  let value: PlainValue = null
  readFields(reader, end, (field) => {
    switch (field) {
      case fields.value.string: value = reader.string(); break
      case fields.value.bool: value = reader.bool(); break
      case fields.value.int: value = integerOf(reader.int64()) ?? null; break
      case fields.value.double: value = reader.double(); break
      case fields.value.bytes: value = Buffer.from(reader.bytes()).toString('base64'); break
      case fields.value.array: value = readArray(reader, nestedEnd(reader, end), depth - 1); break
      case fields.value.record: value = readRecord(reader, nestedEnd(reader, end), depth - 1); break
      default: return false
    }
    return true
  })
  return value
}

function readArray (reader: BinaryReader, end: number, depth: number): PlainValue {
  const items: PlainValue[] = []
  readFields(reader, end, (field) => {
    if (field !== fields.values.values || depth === 0) return false
    items.push(readValue(reader, nestedEnd(reader, end), depth))
    return true
  })
  return items
}

function readRecord (reader: BinaryReader, end: number, depth: number): PlainValue {
  const record: Record<string, PlainValue> = {}
  readFields(reader, end, (field) => {
    if (field !== fields.values.values || depth === 0) return false
    const [key, value] = readKeyValue(reader, nestedEnd(reader, end), depth)
    setOwn(record, key, value)
    return true
  })
  return record
}
