import { metrics, type Attributes, type Meter, type MeterProvider } from '@opentelemetry/api'
import type { MetricDefinition } from './metric-definitions.ts'

/** Counts in the meter provider that is registered at that moment; without one it does nothing. */
export interface CounterHandle { add (value: number, labels?: Attributes): void }

/** Records values in the meter provider that is registered at that moment; without one it does nothing. */
export interface HistogramHandle { record (value: number, labels?: Attributes): void }

export function createCounter ({ name, unit, description }: MetricDefinition): CounterHandle {
  const instrument = ofCurrentProvider((meter) => meter.createCounter(name, { unit, description }))
  return { add: (value, labels) => { instrument().add(value, labels) } }
}

export function createHistogram ({ name, unit, description, boundaries }: MetricDefinition): HistogramHandle {
  const advice = boundaries === undefined ? {} : { advice: { explicitBucketBoundaries: [...boundaries] } }
  const instrument = ofCurrentProvider((meter) => meter.createHistogram(name, { unit, description, ...advice }))
  return { record: (value, labels) => { instrument().record(value, labels) } }
}

/**
 * The instrument of the provider that is registered now. The metrics API gives one without effect to whoever asks before an SDK has started,
 * so it is made when it is first used, and anew when another provider has taken the place.
 */
export function ofCurrentProvider<Instrument> (create: (meter: Meter) => Instrument): () => Instrument {
  let made: { readonly provider: MeterProvider, readonly instrument: Instrument } | undefined
  return () => {
    const provider = metrics.getMeterProvider()
    if (made?.provider !== provider) made = { provider, instrument: create(provider.getMeter('threadline')) }
    return made.instrument
  }
}
