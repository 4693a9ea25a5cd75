import { diag, type ContextManager } from '@opentelemetry/api'
import { getBooleanFromEnv, getStringFromEnv } from '@opentelemetry/core'
import { NodeSDK } from '@opentelemetry/sdk-node'
import {
  AlwaysOffSampler, AlwaysOnSampler, createAlwaysRecordSampler, NoopSpanProcessor, ParentBasedSampler, type Sampler, type SpanProcessor
} from '@opentelemetry/sdk-trace'
import { reportDiagnostics } from './diagnostics.ts'
import { createInheritanceCheck } from './inheritance-check.ts'
import { instrumentBuiltins } from './instrument-builtins.ts'
import { createInstrumentations } from './instrumentations.ts'
import { createMetricReaders } from './metric-readers.ts'
import { parseBaggageHosts } from './outgoing-baggage.ts'
import { createOutgoingPropagator } from './outgoing-propagator.ts'
import { createResource, resourceDetectors } from './resource.ts'
import { createSampler } from './sampler.ts'
import { createSpanProcessors } from './span-export.ts'

/**
 * Starts the SDK as the standard `OTEL_*` variables say. It never throws: a service without telemetry is better than none. Called
 * once, before what it instruments is loaded, and after Threadline's own context manager is registered.
 *
 * Nothing is exported, and nothing connects, unless an endpoint or an exporter is named. Even then spans have ids, so that logs,
 * events and outgoing requests can be tied together, and each is checked as it starts whether its identity was inherited, unless
 * `THREADLINE_TRACE_CHECK` is `off`. `OTEL_SDK_DISABLED=true` leaves only the context manager.
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
  const { sampler, spanProcessors } = chooseTracing(exporting, process.env['THREADLINE_TRACE_CHECK'] !== 'off')
  const sdk = new NodeSDK({
    // The SDK takes null for "leave the registered one alone"; its types do not say so.
    contextManager: null as unknown as ContextManager,
    textMapPropagator: createOutgoingPropagator(),
    resource: createResource(),
    resourceDetectors: [...resourceDetectors],
    spanProcessors: [...spanProcessors],
    sampler,
    instrumentations: [...createInstrumentations(parseBaggageHosts(process.env['BAGGAGE_HOSTS']))],
    metricReaders: [...await createMetricReaders()],
    // The SDK's own default is to export them to localhost.
    ...(getStringFromEnv('OTEL_LOGS_EXPORTER') === undefined ? { logRecordProcessors: [] } : {})
  })
  sdk.start()
  instrumentBuiltins()
}

function chooseTracing (exporting: readonly SpanProcessor[], checked: boolean): { readonly sampler: Sampler, readonly spanProcessors: readonly SpanProcessor[] } {
  const idle = exporting.length === 0
  // Nobody would see an exported span; the SDK's own default samples all.
  const sampler = createSampler(idle ? new AlwaysOffSampler() : new ParentBasedSampler({ root: new AlwaysOnSampler() }))
  // The SDK tells processors nothing of spans that are not recorded. Recorded and not sampled, they are exported by none.
  if (checked) return { sampler: createAlwaysRecordSampler(sampler), spanProcessors: [createInheritanceCheck(), ...exporting] }
  // Without any processor the SDK registers no provider, and no span would have an id.
  return { sampler, spanProcessors: idle ? [new NoopSpanProcessor()] : exporting }
}
