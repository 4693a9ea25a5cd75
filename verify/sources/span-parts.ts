import type { AttributeValue, SpanKind } from '../span.ts'

/** As OTLP numbers them. */
const kinds: readonly SpanKind[] = ['unspecified', 'internal', 'server', 'client', 'producer', 'consumer']

/** From OTLP's number, or from its name in the JSON mapping (`SPAN_KIND_SERVER`) or Jaeger's (`server`). */
export function kindOf (value: unknown): SpanKind {
  if (typeof value === 'number') return kinds[value] ?? 'unspecified'
  if (typeof value !== 'string') return 'unspecified'
  const name = value.toLowerCase().replace(/^span_kind_/, '')
  return kinds.find((kind) => kind === name) ?? 'unspecified'
}

const traceIdPattern = /^[0-9a-f]{32}$/
const spanIdPattern = /^[0-9a-f]{16}$/

/** In lower case; undefined for what is no id, as one of zeros only is none (W3C Trace Context). */
export function traceIdOf (value: unknown): string | undefined {
  return idOf(value, traceIdPattern, '00000000000000000000000000000000')
}

export function spanIdOf (value: unknown): string | undefined {
  return idOf(value, spanIdPattern, '0000000000000000')
}

function idOf (value: unknown, pattern: RegExp, zeros: string): string | undefined {
  if (typeof value !== 'string') return undefined
  if (pattern.test(value)) return value === zeros ? undefined : value
  const id = value.toLowerCase()
  return pattern.test(id) && id !== zeros ? id : undefined
}

/** An attribute's value before it is made an `AttributeValue`. Bytes are text in base64. */
export type PlainValue = string | number | boolean | null | readonly PlainValue[] | { readonly [key: string]: PlainValue }

/** How deep values may be nested; what is deeper is left out. OTLP has no limit, a stack has. */
export const maxDepth = 32

/** Undefined for no value. */
export function attributeValueOf (value: PlainValue): AttributeValue | undefined {
  if (value === null) return undefined
  if (typeof value !== 'object') return value
  return isFlat(value) ? value : JSON.stringify(value)
}

function isFlat (value: object): value is readonly (string | number | boolean)[] {
  return Array.isArray(value) && value.every((item) => item !== null && typeof item !== 'object')
}

/** A number where it is exact, its digits as text where it is not. */
export function integerOf (value: unknown): number | string | undefined {
  if (typeof value === 'number') return value
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value)
  if (typeof value !== 'string' || !/^[+-]?\d{1,20}$/.test(value)) return undefined
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : value
}

/** From a number, or its text: `NaN` and `Infinity` are texts in JSON. */
export function numberOf (value: unknown): number | undefined {
  if (typeof value === 'number') return value
  return typeof value === 'string' && value !== '' ? Number(value) : undefined
}

/** From nanoseconds since 1970, as a decimal text or a number, to µs. Undefined when it is absent or zero. */
export function microsecondsOf (nanoseconds: unknown): number | undefined {
  if (typeof nanoseconds === 'string') {
    // 64 bits of nanoseconds are no exact number; without the last three digits they are.
    return /^\d{4,20}$/.test(nanoseconds) ? Number(nanoseconds.slice(0, -3)) || undefined : undefined
  }
  if (typeof nanoseconds === 'bigint') return Number(nanoseconds / 1000n) || undefined
  if (typeof nanoseconds === 'number' && nanoseconds > 0 && Number.isFinite(nanoseconds)) return Math.floor(nanoseconds / 1000)
  return undefined
}

export function isRecord (value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Its items, or none: what should be a list and is not, holds nothing. */
export function itemsOf (value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

/** Sets what a file names, whatever it names: `__proto__` would change the object instead. */
export function setOwn<T> (target: Record<string, T>, key: string, value: T): void {
  if (key !== '__proto__') target[key] = value
}
