import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { diag } from '@opentelemetry/api'
import { getNumberFromEnv, getStringFromEnv } from '@opentelemetry/core'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'

const path = '/metrics'
/** Prometheus refuses to guess what it is given. Source: its exposition formats, text format 0.0.4. */
const contentType = 'text/plain; version=0.0.4; charset=utf-8'

const scrapers = new WeakSet<Socket>()
let url: string | undefined

/**
 * A metric reader that is asked by Prometheus, at `OTEL_EXPORTER_PROMETHEUS_HOST` (loopback by default, since nobody has to authenticate) and
 * `OTEL_EXPORTER_PROMETHEUS_PORT` (9464 by default, 0 for a free one). Undefined, and said so, when it cannot listen there: that ends no
 * service. It does not keep the process alive.
 */
export async function startPrometheusEndpoint (): Promise<PrometheusExporter | undefined> {
  const host = getStringFromEnv('OTEL_EXPORTER_PROMETHEUS_HOST') ?? '127.0.0.1'
  const port = getNumberFromEnv('OTEL_EXPORTER_PROMETHEUS_PORT') ?? 9464
  // Its own server takes 0 for no port, and does not say where it listens.
  const exporter = new PrometheusExporter({ preventServerStart: true })
  const server = createServer((request, response) => { answer(request, response, exporter) }).unref()
  server.on('connection', (socket: Socket) => { scrapers.add(socket) })
  try {
    server.listen(port, host)
    await once(server, 'listening')
  } catch (error) {
    diag.error(`Prometheus cannot be served at ${host}:${port}`, error)
    return undefined
  }
  const { address, family, port: bound } = server.address() as AddressInfo // it listens on a port
  url = `http://${family === 'IPv6' ? `[${address}]` : address}:${bound}${path}`
  return exporter
}

/** Where this process answers Prometheus; undefined when it does not. */
export function prometheusUrl (): string | undefined {
  return url
}

/** Whether a request came to the endpoint, and is no request of a client: it makes neither a trace nor a metric. */
export function isScrape ({ socket }: IncomingMessage): boolean {
  return scrapers.has(socket)
}

function answer (request: IncomingMessage, response: ServerResponse, exporter: PrometheusExporter): void {
  if (request.method !== 'GET' || request.url?.split('?')[0] !== path) {
    response.writeHead(404).end()
    return
  }
  exporter.getMetricsRequestHandler(request, response)
  response.setHeader('content-type', contentType) // in place of what the handler has set; it writes later
}
