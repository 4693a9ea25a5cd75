import type { Attributes, ObservableResult, ObservableUpDownCounter } from '@opentelemetry/api'
import { ofCurrentProvider } from '../context/instruments.ts'
import type { MetricDefinition } from '../context/metric-definitions.ts'

export interface Observation { readonly value: number, readonly labels?: Attributes }

type Read = () => Observation | readonly Observation[] | Promise<Observation | readonly Observation[]>

/** What is observed under one name, by however many servers in this process, and the instrument that asks for it. */
interface Observed {
  readonly readers: Set<Read>
  readonly instrument: ObservableUpDownCounter
  readonly ask: (result: ObservableResult) => Promise<void>
}

const observedByName = new Map<string, Observed>()

/**
 * Has `read` called whenever metrics are collected. What several read under the same labels is added up. Returns what ends it. The provider
 * is the one that is registered when the first of them begins.
 */
export function observe (definition: MetricDefinition, read: Read): () => void {
  const observed = observedByName.get(definition.name) ?? begin(definition)
  observed.readers.add(read)
  return () => {
    observed.readers.delete(read)
    if (observed.readers.size > 0) return
    observed.instrument.removeCallback(observed.ask)
    if (observedByName.get(definition.name) === observed) observedByName.delete(definition.name)
  }
}

function begin ({ name, unit, description }: MetricDefinition): Observed {
  const readers = new Set<Read>()
  const instrument = ofCurrentProvider((meter) => meter.createObservableUpDownCounter(name, { unit, description }))()
  const ask = async (result: ObservableResult): Promise<void> => { await tell(readers, result) }
  const observed = { readers, instrument, ask }
  instrument.addCallback(ask)
  observedByName.set(name, observed)
  return observed
}

async function tell (readers: ReadonlySet<Read>, result: ObservableResult): Promise<void> {
  const read = await Promise.all([...readers].map(async (reader) => await reader()))
  const sums = new Map<string, Required<Observation>>()
  for (const { value, labels = {} } of read.flat()) {
    const key = JSON.stringify(Object.entries(labels))
    sums.set(key, { labels, value: value + (sums.get(key)?.value ?? 0) })
  }
  for (const { value, labels } of sums.values()) result.observe(value, labels)
}
