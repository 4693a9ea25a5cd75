import { createCounter, ofCurrentProvider } from '../context/instruments.ts'
import type { MetricDefinition } from '../context/metric-definitions.ts'

/** The metrics of the canaries, which are there while the canaries are on. */
export const canaryMetricDefinitions = {
  crossed: { name: 'threadline.canary.crossed', unit: '{crossing}', description: 'What a canary left or found in a wrong place' },
  rounds: { name: 'threadline.canary.rounds', unit: '{round}', description: 'Rounds of the canaries, by how they ended' },
  lastSuccess: {
    name: 'threadline.canary.last_success', unit: 's', description: 'When a round of the canaries last found everything in its place, since 1970; 0 before the first'
  }
} as const satisfies Readonly<Record<string, MetricDefinition>>

const { lastSuccess: { name, unit, description } } = canaryMetricDefinitions
const lastSuccess = ofCurrentProvider((meter) => meter.createGauge(name, { unit, description }))

export const canaryMetrics = {
  crossed: createCounter(canaryMetricDefinitions.crossed),
  rounds: createCounter(canaryMetricDefinitions.rounds),
  lastSuccess: { record: (seconds: number): void => { lastSuccess().record(seconds) } }
}
