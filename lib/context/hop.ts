import { SpanKind, SpanStatusCode, trace, type Attributes, type Link, type Span } from '@opentelemetry/api'
import { isThreadlineError } from '../errors.ts'
import { attributes } from './attributes.ts'
import { currentIdentity, identityAttributes } from './current-thread.ts'

/** The stations of a message, in order. */
export const hops = ['socket.receive', 'handler', 'registry', 'engine', 'tool', 'emitter', 'socket.send'] as const
export type Hop = typeof hops[number]

export interface HopOptions {
  /** The span's name; the hop's own without it. The hop is always in `threadline.hop`. */
  readonly name?: string
  readonly kind?: SpanKind
  readonly attributes?: Attributes
  readonly links?: readonly Link[]
}

const tracer = trace.getTracer('threadline')

/**
 * Runs one hop of a message as a span that carries the active identity. The span ends when `fn` has settled; an error is
 * recorded on it and thrown on. Throws `THREADLINE_NO_CONTEXT` outside of an identity.
 */
export function withHop<T> (hop: Hop, options: HopOptions, fn: (span: Span) => T): T {
  const spanOptions = {
    kind: options.kind ?? SpanKind.INTERNAL,
    attributes: { [attributes.hop]: hop, ...identityAttributes(currentIdentity()), ...options.attributes },
    ...(options.links === undefined ? {} : { links: [...options.links] })
  }
  return tracer.startActiveSpan(options.name ?? hop, spanOptions, (span) => runInSpan(span, fn))
}

/** Runs `fn`, and ends the span when it has settled, with the error on it if there was one. */
export function runInSpan<T> (span: Span, fn: (span: Span) => T): T {
  try {
    const result = fn(span)
    if (!(result instanceof Promise)) {
      span.end()
      return result
    }
    return result.then(
      (value: unknown) => { span.end(); return value },
      (error: unknown) => { failSpan(span, error); span.end(); throw error }
    ) as T // the same promise type that `fn` returned
  } catch (error) {
    failSpan(span, error)
    span.end()
    throw error
  }
}

/** Marks a span as failed, with the error's code or class as `error.type`. Never throws, whatever was thrown. */
export function failSpan (span: Span, error: unknown): void {
  span.setStatus({ code: SpanStatusCode.ERROR })
  span.setAttribute(attributes.errorType, errorTypeOf(error))
  try {
    const message = error instanceof Error ? error.message : String(error)
    span.setStatus({ code: SpanStatusCode.ERROR, message })
    if (error instanceof Error) span.recordException(error)
  } catch {
    // The error cannot be put into words, by a getter or a toString that throws: it is thrown on, not what they threw.
  }
}

/** What spans and metrics call an error (`error.type`): its code, or the name of its class. Never throws, whatever was thrown. */
export function errorTypeOf (error: unknown): string {
  try {
    return isThreadlineError(error) ? error.code : error instanceof Error ? error.name : 'unknown'
  } catch {
    return 'unknown' // by a getter that throws
  }
}
