import { diag, type ContextManager } from '@opentelemetry/api'
import { getBooleanFromEnv, getStringFromEnv } from '@opentelemetry/core'
import { NodeSDK } from '@opentelemetry/sdk-node'
import { AlwaysOffSampler, NoopSpanProcessor } from '@opentelemetry/sdk-trace'
import { reportDiagnostics } from './diagnostics.ts'
import { instrumentBuiltins } from './instrument-builtins.ts'
import { createInstrumentations } from './instrumentations.ts'
import { parseBaggageHosts } from './outgoing-baggage.ts'
import { createOutgoingPropagator } from './outgoing-propagator.ts'
import { createResource, resourceDetectors } from './resource.ts'
import { createSpanProcessors } from './span-export.ts'

/**
 * Starts the SDK as the standard `OTEL_*` variables say. It never throws: a service without telemetry is better than none. Called
 * once, before what it instruments is loaded, and after Threadline's own context manager is registered.
 *
 * Nothing is exported, and nothing connects, unless an endpoint or an exporter is named. Even then spans have ids, so that logs,
 * events and outgoing requests can be tied together. `OTEL_SDK_DISABLED=true` leaves only the context manager.
 */
export async function startTelemetry (): Promise<void> {
  if (getBooleanFromEnv('OTEL_SDK_DISABLED')) return
  reportDiagnostics()
  try {
    await startSdk()
  } catch (error) {
    diag.error('Telemetry could not start', error)
  }
}

async function startSdk (): Promise<void> {
  const exporting = await createSpanProcessors()
  const idle = exporting.length === 0
  const sdk = new NodeSDK({
    // The SDK takes null for "leave the registered one alone"; its types do not say so.
    contextManager: null as unknown as ContextManager,
    textMapPropagator: createOutgoingPropagator(),
    resource: createResource(),
    resourceDetectors: [...resourceDetectors],
    // Without any processor the SDK registers no provider, and no span would have an id.
    spanProcessors: idle ? [new NoopSpanProcessor()] : [...exporting],
    instrumentations: [...createInstrumentations(parseBaggageHosts(process.env['BAGGAGE_HOSTS']))],
    // Nobody would see a recorded span.
    ...(idle && getStringFromEnv('OTEL_TRACES_SAMPLER') === undefined ? { sampler: new AlwaysOffSampler() } : {}),
    // The SDK's own default is to export both to localhost.
    ...(getStringFromEnv('OTEL_METRICS_EXPORTER') === undefined ? { metricReaders: [] } : {}),
    ...(getStringFromEnv('OTEL_LOGS_EXPORTER') === undefined ? { logRecordProcessors: [] } : {})
  })
  sdk.start()
  instrumentBuiltins()
}
