import { TraceFlags, type HrTime, type SpanContext } from '@opentelemetry/api'
import { JsonTraceSerializer, ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer'
import { resourceFromAttributes } from '@opentelemetry/resources'
import type { ReadableSpan } from '@opentelemetry/sdk-trace'
import type { Notices } from '../../verify/sources/notices.ts'
import type { Span, SpanKind } from '../../verify/span.ts'

/** As OpenTelemetry's own exporter writes it over HTTP: one message. */
export function toOtlpJson (spans: readonly Span[]): Buffer {
  return written(JsonTraceSerializer.serializeRequest(spans.map(toReadable)))
}

/** The same as protobuf. */
export function toOtlpProtobuf (spans: readonly Span[]): Buffer {
  return written(ProtobufTraceSerializer.serializeRequest(spans.map(toReadable)))
}

/** Each message behind its length, as the collector's `file` exporter frames them. */
export function framed (messages: readonly Buffer[]): Buffer {
  return Buffer.concat(messages.flatMap((message) => {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(message.length)
    return [length, message]
  }))
}

export interface Heard extends Notices {
  readonly problems: string[]
  readonly notes: string[]
}

/** Keeps what a source says. */
export function hear (): Heard {
  const problems: string[] = []
  const notes: string[] = []
  return { problems, notes, problem: (sentence) => { problems.push(sentence) }, note: (sentence) => { notes.push(sentence) } }
}

/** All that a source gives. */
export async function allSpans (pieces: AsyncIterable<readonly Span[]>): Promise<readonly Span[]> {
  return (await Array.fromAsync(pieces)).flat()
}

/** In the order of their ids, attributes in that of their names: sources may give them in any. */
export function inOrder (spans: readonly Span[]): readonly Span[] {
  return spans
    .map((span) => ({ ...span, attributes: Object.fromEntries(Object.entries(span.attributes).toSorted(([a], [b]) => a < b ? -1 : 1)) }))
    .toSorted((a, b) => a.spanId < b.spanId ? -1 : 1)
}

/** Some bytes, in pieces of a size. */
export async function * inPieces (bytes: Buffer, size: number): AsyncGenerator<Buffer, void> {
  for (let start = 0; start < bytes.length; start += size) yield bytes.subarray(start, start + size)
}

const kinds: readonly SpanKind[] = ['internal', 'server', 'client', 'producer', 'consumer']

function toReadable (span: Span): ReadableSpan {
  const { traceId, spanId, parentSpanId, name, kind, startedAt, endedAt = startedAt, failed, attributes, links, service } = span
  const contextOf = (id: string, trace = traceId): SpanContext => ({ traceId: trace, spanId: id, traceFlags: TraceFlags.SAMPLED })
  return {
    name,
    kind: kinds.indexOf(kind),
    spanContext: () => contextOf(spanId),
    ...(parentSpanId === undefined ? {} : { parentSpanContext: contextOf(parentSpanId) }),
    startTime: hrTime(startedAt),
    endTime: hrTime(endedAt),
    duration: hrTime(endedAt - startedAt),
    status: { code: failed ? 2 : 0 },
    attributes,
    links: links.map((link) => ({ context: contextOf(link.spanId, link.traceId), attributes: {} })),
    events: [],
    ended: true,
    resource: resourceFromAttributes(service === undefined ? {} : { 'service.name': service }),
    instrumentationScope: { name: 'test' },
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0
  }
}

/** From µs. */
function hrTime (microseconds: number): HrTime {
  return [Math.floor(microseconds / 1e6), Math.round(microseconds % 1e6) * 1000]
}

function written (bytes: Uint8Array | undefined): Buffer {
  if (bytes === undefined) throw new Error('The serializer wrote nothing')
  return Buffer.from(bytes)
}
