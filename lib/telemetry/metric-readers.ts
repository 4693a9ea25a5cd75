import { diag } from '@opentelemetry/api'
import { getNumberFromEnv, getStringFromEnv, getStringListFromEnv } from '@opentelemetry/core'
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto'
import { ConsoleMetricExporter, PeriodicExportingMetricReader, type IMetricReader, type PushMetricExporter } from '@opentelemetry/sdk-metrics'
import { startPrometheusEndpoint } from './prometheus-endpoint.ts'

/**
 * The readers that `OTEL_METRICS_EXPORTER` (`otlp`, `prometheus`, `console`, `none`, or several) asks for. Without it nothing is measured: who
 * wants only traces names an endpoint, and must not get metrics beside.
 */
export async function createMetricReaders (): Promise<readonly IMetricReader[]> {
  const named = new Set(getStringListFromEnv('OTEL_METRICS_EXPORTER') ?? ['none'])
  if (named.has('none')) return []
  const readers = await Promise.all([...named].map(createReader))
  return readers.filter((reader) => reader !== undefined)
}

async function createReader (name: string): Promise<IMetricReader | undefined> {
  switch (name) {
    case 'otlp': return pushing(await createOtlpExporter())
    case 'console': return pushing(new ConsoleMetricExporter())
    case 'prometheus': return await startPrometheusEndpoint()
    default:
      diag.warn(`OTEL_METRICS_EXPORTER: ${name} is not supported; otlp, prometheus, console and none are`)
      return undefined
  }
}

/** The standard's `OTEL_METRIC_EXPORT_*`, which a reader that is built by hand ignores. In ms. */
function pushing (exporter: PushMetricExporter): IMetricReader {
  const exportIntervalMillis = positive('OTEL_METRIC_EXPORT_INTERVAL', 60_000)
  const exportTimeoutMillis = Math.min(positive('OTEL_METRIC_EXPORT_TIMEOUT', 30_000), exportIntervalMillis)
  return new PeriodicExportingMetricReader({ exporter, exportIntervalMillis, exportTimeoutMillis })
}

function positive (variable: string, fallback: number): number {
  const value = getNumberFromEnv(variable) ?? fallback
  if (value > 0) return value
  diag.warn(`${variable} must be greater than 0; ${fallback} is used`)
  return fallback
}

// Endpoint, headers, compression, timeout, certificates and temporality are read from the environment by the exporters themselves.
async function createOtlpExporter (): Promise<PushMetricExporter> {
  const protocol = getStringFromEnv('OTEL_EXPORTER_OTLP_METRICS_PROTOCOL') ?? getStringFromEnv('OTEL_EXPORTER_OTLP_PROTOCOL') ?? 'http/protobuf'
  switch (protocol) {
    case 'grpc': return new (await import('@opentelemetry/exporter-metrics-otlp-grpc')).OTLPMetricExporter()
    case 'http/json': return new (await import('@opentelemetry/exporter-metrics-otlp-http')).OTLPMetricExporter()
    case 'http/protobuf': return new OTLPMetricExporter()
    default:
      diag.warn(`OTEL_EXPORTER_OTLP_METRICS_PROTOCOL: ${protocol} is not supported; http/protobuf is used`)
      return new OTLPMetricExporter()
  }
}
