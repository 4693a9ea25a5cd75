import { setImmediate as turn } from 'node:timers/promises'
import { metrics, type Attributes } from '@opentelemetry/api'
import { DataPointType, MeterProvider, MetricReader, type DataPoint, type Histogram, type MetricData } from '@opentelemetry/sdk-metrics'

interface Test {
  teardown (fn: () => Promise<void>): void
}

/** The points of one collection. */
export interface Measured {
  readonly names: readonly string[]
  data (name: string): MetricData | undefined
  points (name: string): readonly { readonly labels: Attributes, readonly value: number | Histogram }[]
  /** The sum over all points whose labels hold these; of a histogram, how often something was recorded. */
  value (name: string, labels?: Attributes): number
  /** The sum of what a histogram was given. */
  total (name: string, labels?: Attributes): number
}

export interface MetricCollection {
  read (): Promise<Measured>
  /** The first collection of which `holds` is true; it asks at every turn of the event loop. */
  until (holds: (measured: Measured) => boolean): Promise<Measured>
}

class CollectingReader extends MetricReader {
  protected override async onForceFlush (): Promise<void> {}
  protected override async onShutdown (): Promise<void> {}
}

/** A meter provider of the SDK that keeps its metrics in memory, registered until the end of the test. */
export function collectMetrics (t: Test): MetricCollection {
  const reader = new CollectingReader()
  const provider = new MeterProvider({ readers: [reader] })
  if (!metrics.setGlobalMeterProvider(provider)) throw new Error('Another meter provider is registered in this process')
  t.teardown(async () => {
    metrics.disable()
    await provider.shutdown()
  })

  const read = async (): Promise<Measured> => {
    const { resourceMetrics, errors } = await reader.collect()
    if (errors.length > 0) throw new AggregateError(errors, 'Metrics could not be collected')
    return measuredIn(resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics))
  }
  return {
    read,
    async until (holds) {
      let measured = await read()
      while (!holds(measured)) {
        await turn()
        measured = await read()
      }
      return measured
    }
  }
}

function measuredIn (found: readonly MetricData[]): Measured {
  const data = (name: string): MetricData | undefined => found.find(({ descriptor }) => descriptor.name === name)
  const points: Measured['points'] = (name) => pointsOf(data(name)).map(({ attributes: labels, value }) => ({ labels, value }))
  const sum = (name: string, labels: Attributes, of: (value: number | Histogram) => number): number => points(name)
    .filter((point) => Object.entries(labels).every(([label, value]) => point.labels[label] === value))
    .reduce((total, { value }) => total + of(value), 0)
  return {
    names: found.map(({ descriptor }) => descriptor.name),
    data,
    points,
    value: (name, labels = {}) => sum(name, labels, (value) => typeof value === 'number' ? value : value.count),
    total: (name, labels = {}) => sum(name, labels, (value) => typeof value === 'number' ? value : value.sum ?? 0)
  }
}

function pointsOf (data: MetricData | undefined): readonly DataPoint<number | Histogram>[] {
  if (data === undefined || data.dataPointType === DataPointType.EXPONENTIAL_HISTOGRAM) return []
  return data.dataPoints
}
