import { diag } from '@opentelemetry/api'
import { getNumberFromEnv, getStringFromEnv, getStringListFromEnv } from '@opentelemetry/core'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import { ConsoleSpanExporter, SimpleSpanProcessor, type SpanExporter, type SpanProcessor } from '@opentelemetry/sdk-trace'
import { createSpanQueue, type SpanQueueLimits } from './span-queue.ts'

/**
 * The processors that `OTEL_TRACES_EXPORTER` (`otlp`, `console`, `none`) asks for. Without it spans go out by OTLP if an endpoint
 * is named, and nowhere otherwise: the standard's default, a collector on localhost, is an error every few seconds on a machine
 * that has none.
 */
export async function createSpanProcessors (): Promise<readonly SpanProcessor[]> {
  const named = new Set(getStringListFromEnv('OTEL_TRACES_EXPORTER') ?? (hasEndpoint() ? ['otlp'] : []))
  if (named.has('none')) return []
  const processors = await Promise.all([...named].map(createSpanProcessor))
  return processors.filter((processor) => processor !== undefined)
}

function hasEndpoint (): boolean {
  return getStringFromEnv('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT') !== undefined ||
    getStringFromEnv('OTEL_EXPORTER_OTLP_ENDPOINT') !== undefined
}

async function createSpanProcessor (name: string): Promise<SpanProcessor | undefined> {
  if (name === 'console') return new SimpleSpanProcessor({ exporter: new ConsoleSpanExporter() })
  if (name === 'otlp') {
    const limits = readLimits()
    return createSpanQueue(await createOtlpExporter(limits), limits)
  }
  diag.warn(`OTEL_TRACES_EXPORTER: ${name} is not supported; otlp, console and none are`)
  return undefined
}

/**
 * The standard's `OTEL_BSP_*`, which a processor that is built by hand ignores. The default queue is 32 times the standard's: 2048
 * spans is what forty messages of fifty spans fill before the first batch is out.
 */
function readLimits (): SpanQueueLimits {
  const maxQueueSize = positive('OTEL_BSP_MAX_QUEUE_SIZE', 65_536)
  return {
    maxQueueSize,
    maxExportBatchSize: Math.min(positive('OTEL_BSP_MAX_EXPORT_BATCH_SIZE', 512), maxQueueSize),
    scheduledDelayMillis: positive('OTEL_BSP_SCHEDULE_DELAY', 5000),
    exportTimeoutMillis: positive('OTEL_BSP_EXPORT_TIMEOUT', 30_000)
  }
}

function positive (variable: string, fallback: number): number {
  const value = getNumberFromEnv(variable) ?? fallback
  if (value > 0) return value
  diag.warn(`${variable} must be greater than 0; ${fallback} is used`)
  return fallback
}

// Endpoint, headers, compression, timeout and certificates are read from the environment by the exporters themselves.
async function createOtlpExporter (limits: SpanQueueLimits): Promise<SpanExporter> {
  const protocol = getStringFromEnv('OTEL_EXPORTER_OTLP_TRACES_PROTOCOL') ??
    getStringFromEnv('OTEL_EXPORTER_OTLP_PROTOCOL') ?? 'http/protobuf'
  // A flush sends all batches of a full queue at once; the exporter drops what is above its limit, by default 30.
  const options = { concurrencyLimit: Math.ceil(limits.maxQueueSize / limits.maxExportBatchSize) + 1 }
  switch (protocol) {
    case 'grpc': return new (await import('@opentelemetry/exporter-trace-otlp-grpc')).OTLPTraceExporter(options)
    case 'http/json': return new (await import('@opentelemetry/exporter-trace-otlp-http')).OTLPTraceExporter(options)
    case 'http/protobuf': return new OTLPTraceExporter(options)
    default:
      diag.warn(`OTEL_EXPORTER_OTLP_PROTOCOL: ${protocol} is not supported; http/protobuf is used`)
      return new OTLPTraceExporter(options)
  }
}
