import t from 'tap'
import { createCounter, createHistogram } from '../../lib/context/instruments.ts'
import { metricDefinitions, type MetricDefinition } from '../../lib/context/metric-definitions.ts'
import { collectMetrics } from '../support/metric-collection.ts'

const counted: MetricDefinition = { name: 'threadline.test.counted', unit: '{thing}', description: 'Things of a test' }
const recorded: MetricDefinition = { name: 'threadline.test.recorded', unit: 's', description: 'Times of a test', boundaries: [1, 2] }

t.test('what was made before there was a provider works as soon as there is one, and with the next one', async (t) => {
  const counter = createCounter(counted)
  const histogram = createHistogram(recorded)
  counter.add(100)
  histogram.record(100)

  for (const round of ['first', 'second']) {
    await t.test(round, async (t) => {
      const metrics = collectMetrics(t)

      counter.add(1, { round })
      histogram.record(1.5, { round })
      const measured = await metrics.read()

      // kill: keep what was made first in lib/context/instruments.ts
      t.same(measured.points(counted.name), [{ labels: { round }, value: 1 }])
      t.match(measured.points(recorded.name), [{ labels: { round }, value: { count: 1, sum: 1.5, buckets: { boundaries: [1, 2], counts: [0, 1, 0] } } }])
      t.match(measured.data(counted.name)?.descriptor, counted)
    })
  }
})

t.test('no two metrics have one name, and each has a unit and says what it counts', async (t) => {
  const definitions: readonly MetricDefinition[] = Object.values(metricDefinitions)

  t.equal(new Set(definitions.map(({ name }) => name)).size, definitions.length)
  for (const { name, unit, description, boundaries = [] } of definitions) {
    t.match(name, /^(threadline|gen_ai)(\.[a-z_]+)+$/)
    t.match(unit, /^(s|By|1|\{[a-z]+\})$/, name)
    t.ok(description !== '', name)
    t.same(boundaries, [...boundaries].toSorted((one, other) => one - other), name)
  }
})
