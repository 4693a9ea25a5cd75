import type { ClientRequest } from 'node:http'
import type { Span } from '@opentelemetry/api'
import type { UndiciRequest } from '@opentelemetry/instrumentation-undici'
import { attributes } from '../context/attributes.ts'

/**
 * Says on the span of a request that its `baggage` header was sent, whoever had set it: what counts is the header that leaves, and not what
 * was decided about it. So a verifier finds baggage at a foreign host also where it was put there by hand.
 */
export function noteSentBaggage (span: Span, request: ClientRequest): void {
  const note = (): void => {
    if (span.isRecording() && request.hasHeader('baggage')) span.setAttribute(attributes.baggageSent, true)
  }
  note()
  // Until it has left, whoever has made the request can set headers.
  request.once('finish', note)
}

/** The same for `fetch`, whose headers are complete by then. */
export function noteFetchedBaggage (span: Span, { headers }: UndiciRequest): void {
  if (namesOf(headers).some((name) => name.trim().toLowerCase() === 'baggage')) span.setAttribute(attributes.baggageSent, true)
}

/** Of a list of names and values in turn, or of lines. */
function namesOf (headers: UndiciRequest['headers']): readonly string[] {
  if (typeof headers === 'string') return headers.split('\r\n').map((line) => line.slice(0, Math.max(0, line.indexOf(':'))))
  return headers.filter((header, index): header is string => index % 2 === 0 && typeof header === 'string')
}
