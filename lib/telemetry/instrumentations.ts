import { IncomingMessage, type RequestOptions } from 'node:http'
import type { Attributes, Span } from '@opentelemetry/api'
import { HttpInstrumentation } from '@opentelemetry/instrumentation-http'
import { UndiciInstrumentation } from '@opentelemetry/instrumentation-undici'
import { ATTR_URL_FULL, ATTR_URL_QUERY } from '@opentelemetry/semantic-conventions'
import { identityAttributes, tryCurrentIdentity } from '../context/current-thread.ts'
import { parseTraceparent } from '../context/traceparent.ts'
import { baggageHeaderFor, type BaggageHosts } from './outgoing-baggage.ts'
import { isScrape } from './prometheus-endpoint.ts'
import { redactQuery } from './redact-query.ts'
import { noteFetchedBaggage, noteSentBaggage } from './sent-baggage.ts'

/**
 * HTTP as spans, both ways. A request that comes in starts a trace of its own, linked to the trace that the client claims; the span
 * lasts until the response is closed, so a stream is covered whole. A request that goes out hangs under the active span, if
 * there is one, carries `traceparent`, and carries `baggage` to the hosts of the list only; its span says whether it did. Sockets are not
 * covered: an upgrade is no request to Node.
 */
export function createInstrumentations (baggageHosts: BaggageHosts): readonly [HttpInstrumentation, UndiciInstrumentation] {
  return [
    new HttpInstrumentation({
      requireParentforOutgoingSpans: true,
      ignoreIncomingRequestHook: isScrape,
      requestHook: (span, request) => {
        if (request instanceof IncomingMessage) linkToClient(span, request)
        else noteSentBaggage(span, request)
      },
      startIncomingSpanHook: ({ url = '' }) => redactedQueryOf(url),
      startOutgoingSpanHook: (request) => {
        const target = targetOf(request)
        if (target === undefined) return servedIdentity()
        addBaggage(request, target, baggageHosts)
        return { ...servedIdentity(), [ATTR_URL_FULL]: redactQuery(`${target.origin}${request.path ?? '/'}`) }
      }
    }),
    new UndiciInstrumentation({
      requireParentforSpans: true,
      startSpanHook: ({ path, origin }) => ({
        ...servedIdentity(), ...redactedQueryOf(path), [ATTR_URL_FULL]: redactQuery(`${origin}${path}`)
      }),
      requestHook: (span, request) => {
        const header = baggageHeaderFor(new URL(request.origin), baggageHosts)
        if (header !== undefined) request.addHeader('baggage', header)
        noteFetchedBaggage(span, request)
      }
    })
  ]
}

function linkToClient (span: Span, request: IncomingMessage): void {
  const { traceparent } = request.headers
  const claimed = typeof traceparent === 'string' ? parseTraceparent(traceparent) : undefined
  if (claimed !== undefined) span.addLink({ context: claimed })
}

// The hook gets the instrumentation's own copy of the options, before it copies and completes the headers. Afterwards is too late:
// a request with `Expect` has sent its headers by then.
function addBaggage (request: RequestOptions, target: URL, hosts: BaggageHosts): void {
  const header = baggageHeaderFor(target, hosts)
  if (header === undefined || Array.isArray(request.headers)) return
  request.headers = Object.assign({}, request.headers, { baggage: header })
}

/** Whom Node will connect to: `hostname` before `host`, whatever a `Host` header says. A Unix socket is no host. */
function targetOf (request: RequestOptions): URL | undefined {
  if (request.socketPath) return undefined
  const host = request.hostname || request.host || 'localhost'
  const port = request.port || request.defaultPort || ''
  return URL.parse(`${request.protocol || 'http:'}//${host.includes(':') ? `[${host}]` : host}:${port}`) ?? undefined
}

/** The instrumentations would show the whole query, or hide parameters only if their names are written as expected. */
function redactedQueryOf (url: string): Attributes {
  const query = url.indexOf('?')
  return query === -1 ? {} : { [ATTR_URL_QUERY]: redactQuery(url.slice(query)).slice(1) }
}

function servedIdentity (): Attributes {
  const identity = tryCurrentIdentity()
  return identity === undefined ? {} : identityAttributes(identity)
}
