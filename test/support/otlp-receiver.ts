import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import type { Test } from 'tap'

export interface OtlpRequest {
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

/** As OTLP's JSON has it, as far as the tests read it. */
export interface OtlpSpan {
  readonly traceId: string
  readonly name: string
  readonly parentSpanId?: string
}

interface OtlpAttribute { readonly key: string, readonly value: { readonly stringValue?: string } }

interface OtlpTraces {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly OtlpAttribute[] }
    readonly scopeSpans: readonly { readonly spans: readonly OtlpSpan[] }[]
  }[]
}

export interface OtlpReceiver {
  /** For `OTEL_EXPORTER_OTLP_ENDPOINT`. */
  readonly endpoint: string
  readonly requests: readonly OtlpRequest[]
  /** What has arrived as `http/json`. */
  spans (): readonly OtlpSpan[]
  /** Of the resources of what has arrived as `http/json`. */
  resourceAttributes (): ReadonlyMap<string, string | undefined>
}

/** A collector as an exporter sees it: accepts OTLP over HTTP and keeps it. Closed with the test. */
export async function startOtlpReceiver (t: Test): Promise<OtlpReceiver> {
  const requests: OtlpRequest[] = []
  const server = createServer((request, response) => {
    void buffer(request).then((body) => {
      requests.push({ path: request.url ?? '', headers: request.headers, body })
      response.writeHead(200, { 'content-type': request.headers['content-type'] ?? 'application/json' })
      response.end(request.headers['content-type'] === 'application/json' ? '{}' : '')
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close().closeAllConnections() })

  const traces = () => requests
    .filter(({ path, headers }) => path === '/v1/traces' && headers['content-type'] === 'application/json')
    .flatMap(({ body }) => (JSON.parse(body.toString()) as OtlpTraces).resourceSpans) // what the exporter under test has written
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, // listens on TCP
    requests,
    spans: () => traces().flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans)),
    resourceAttributes: () => new Map(traces()
      .flatMap(({ resource }) => resource.attributes).map(({ key, value }) => [key, value.stringValue]))
  }
}

/** An address where nothing listens. */
export async function findClosedEndpoint (): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo // listens on TCP
  server.close()
  await once(server, 'close')
  return `http://127.0.0.1:${port}`
}
