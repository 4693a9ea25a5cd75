import { IncomingMessage, type RequestOptions } from 'node:http'
import type { Attributes, Span } from '@opentelemetry/api'
import { HttpInstrumentation } from '@opentelemetry/instrumentation-http'
import { UndiciInstrumentation, type UndiciRequest } from '@opentelemetry/instrumentation-undici'
import { ATTR_URL_FULL, ATTR_URL_QUERY } from '@opentelemetry/semantic-conventions'
import { identityAttributes, tryCurrentIdentity } from '../context/current-thread.ts'
import { parseTraceparent } from '../context/traceparent.ts'
import { baggageHeaderFor, type BaggageHosts } from './outgoing-baggage.ts'
import { redactQuery, secretParameters } from './redact-query.ts'

/**
 * HTTP as spans, both ways. A request that comes in starts a trace of its own, linked to the trace that the client claims; the span
 * lasts until the response is closed, so a stream is covered whole. A request that goes out hangs under the active span, if
 * there is one, carries `traceparent`, and carries `baggage` to the hosts of the list only. Sockets are not covered: an upgrade is
 * no request to Node.
 */
export function createInstrumentations (baggageHosts: BaggageHosts): readonly [HttpInstrumentation, UndiciInstrumentation] {
  return [
    new HttpInstrumentation({
      requireParentforOutgoingSpans: true,
      redactedQueryParams: [...secretParameters],
      redactedQueryParamsServer: [...secretParameters],
      requestHook: (span, request) => { if (request instanceof IncomingMessage) linkToClient(span, request) },
      startOutgoingSpanHook: (request) => {
        addBaggage(request, baggageHosts)
        return servedIdentity()
      }
    }),
    new UndiciInstrumentation({
      requireParentforSpans: true,
      startSpanHook: (request) => ({ ...servedIdentity(), ...redactedUrl(request) }),
      requestHook: (_span, request) => {
        const header = baggageHeaderFor(new URL(request.origin), baggageHosts)
        if (header !== undefined) request.addHeader('baggage', header)
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
function addBaggage (request: RequestOptions, hosts: BaggageHosts): void {
  const target = targetOf(request)
  const header = target === undefined ? undefined : baggageHeaderFor(target, hosts)
  if (header === undefined || Array.isArray(request.headers)) return
  request.headers = Object.assign({}, request.headers, { baggage: header })
}

/** Whom Node will connect to: `hostname` before `host`, whatever a `Host` header says. A Unix socket is no host. */
function targetOf (request: RequestOptions): URL | undefined {
  if (request.socketPath) return undefined
  const host = request.hostname ?? request.host ?? 'localhost'
  const port = request.port ?? request.defaultPort ?? ''
  return URL.parse(`${request.protocol ?? 'http:'}//${host.includes(':') ? `[${host}]` : host}:${port}`) ?? undefined
}

function servedIdentity (): Attributes {
  const identity = tryCurrentIdentity()
  return identity === undefined ? {} : identityAttributes(identity)
}

function redactedUrl (request: UndiciRequest): Attributes {
  const url = URL.parse(request.path, request.origin)
  return url === null ? {} : { [ATTR_URL_FULL]: redactQuery(url.href), [ATTR_URL_QUERY]: redactQuery(url.search) }
}
