/** What a span's attribute can be, as the verifier reads it: OTLP's nested values and bytes are kept as JSON text. */
export type AttributeValue = string | number | boolean | readonly (string | number | boolean)[]

export type SpanKind = 'unspecified' | 'internal' | 'server' | 'client' | 'producer' | 'consumer'

/** A span of whatever service, wherever it was read: all that the verifier knows of the world. */
export interface Span {
  /** 32 lower-case hexadecimal digits. */
  readonly traceId: string
  /** 16 lower-case hexadecimal digits. */
  readonly spanId: string
  /** Absent at a root. */
  readonly parentSpanId?: string | undefined
  readonly name: string
  readonly kind: SpanKind
  /** In µs since 1970. */
  readonly startedAt: number
  /** In µs since 1970; absent while the span is open, which only a running service can tell. */
  readonly endedAt?: number | undefined
  readonly failed: boolean
  readonly attributes: Readonly<Record<string, AttributeValue>>
  readonly links: readonly SpanLink[]
  /** `service.name` of its resource. */
  readonly service?: string | undefined
}

export interface SpanLink { readonly traceId: string, readonly spanId: string }
