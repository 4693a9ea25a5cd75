import { createHash } from 'node:crypto'
import type { Profile } from './profile.ts'
import type { AttributeValue, Span, SpanKind } from './span.ts'

/** What the rules need of a span, by the names of a profile: all of it that is kept in memory. */
export interface SeenSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | undefined
  readonly name: string
  readonly kind: SpanKind
  /** In µs since 1970. */
  readonly startedAt: number
  /** In µs since 1970; undefined while it is open. */
  readonly endedAt: number | undefined
  readonly failed: boolean
  readonly service: string | undefined
  readonly hop: string | undefined
  readonly user: string | undefined
  readonly thread: string | undefined
  readonly run: string | undefined
  readonly request: string | undefined
  readonly connection: string | undefined
  readonly recipientUser: string | undefined
  readonly recipientThread: string | undefined
  readonly eventType: string | undefined
  readonly sequence: number | undefined
  readonly baggageSent: boolean
  readonly host: string | undefined
  readonly port: string | undefined
  readonly errorType: string | undefined
  readonly violation: string | undefined
}

const maxTextLength = 256
const kinds: ReadonlySet<unknown> = new Set<SpanKind>(['unspecified', 'internal', 'server', 'client', 'producer', 'consumer'])

/** Undefined for what is no span: without the ids of a trace and of a span, or without a time. Never throws, whatever types it is given. */
export function readSpan (span: Span, { attributes: names }: Profile): SeenSpan | undefined {
  if (typeof span !== 'object' || span === null) return undefined
  const { kind } = span
  const traceId = idOf(span.traceId)
  const spanId = idOf(span.spanId)
  if (traceId === undefined || spanId === undefined || !Number.isFinite(span.startedAt)) return undefined
  const attributes = attributesOf(span)
  const text = (name: string): string | undefined => textOf(attributes[name])
  const isBaggage = attributes[names.baggageSent]
  return {
    traceId,
    spanId,
    parentSpanId: idOf(span.parentSpanId),
    name: textOf(span.name) ?? '',
    kind: kinds.has(kind) ? kind : 'unspecified',
    startedAt: span.startedAt,
    endedAt: typeof span.endedAt === 'number' && Number.isFinite(span.endedAt) ? span.endedAt : undefined,
    failed: span.failed === true,
    service: textOf(span.service),
    hop: text(names.hop),
    user: text(names.user),
    thread: text(names.thread),
    run: text(names.run),
    request: text(names.request),
    connection: text(names.connection),
    recipientUser: text(names.recipientUser),
    recipientThread: text(names.recipientThread),
    eventType: text(names.eventType),
    sequence: numberOf(attributes[names.sequence]),
    baggageSent: isBaggage === true || isBaggage === 'true',
    host: text(names.host),
    port: text(names.port),
    errorType: text(names.errorType),
    violation: text(names.violation)
  }
}

function attributesOf ({ attributes }: Span): Readonly<Record<string, AttributeValue | undefined>> {
  return typeof attributes === 'object' && attributes !== null ? attributes : {}
}

/** All zeros is how some exporters write that there is none. */
function idOf (id: unknown): string | undefined {
  const text = textOf(id)
  return text === undefined || /^0+$/.test(text) ? undefined : text
}

/** Long text is kept by its beginning and its hash, so that two that differ stay different. Empty text is none. */
function textOf (value: unknown): string | undefined {
  const text = typeof value === 'string' ? value : typeof value === 'number' || typeof value === 'boolean' ? String(value) : jsonOf(value)
  if (text === undefined || text === '') return undefined
  if (text.length <= maxTextLength) return text
  return `${text.slice(0, 64)}…${createHash('sha256').update(text).digest('hex')}`
}

function jsonOf (value: unknown): string | undefined {
  return Array.isArray(value) ? value.map(String).join(',') : undefined
}

function numberOf (value: unknown): number | undefined {
  const number = typeof value === 'number' ? value : typeof value === 'string' && value !== '' ? Number(value) : Number.NaN
  return Number.isFinite(number) ? number : undefined
}
