import { metrics as api } from '@opentelemetry/api'
import t from 'tap'
import { observe } from '../../lib/telemetry/observe.ts'
import { collectMetrics } from '../support/metric-collection.ts'

const definition = { name: 'threadline.test.observed', unit: '{thing}', description: 'Things of a test' }

t.test('what several read is added up under the same labels, and each is asked no more once it has ended', async (t) => {
  const metrics = collectMetrics(t)
  let asked = 0
  const read = (red: number, blue: number) => () => {
    asked += 1
    return [{ value: red, labels: { colour: 'red' } }, { value: blue, labels: { colour: 'blue' } }]
  }

  const stopFirst = observe(definition, read(1, 2))
  const stopSecond = observe(definition, read(10, 0))
  const both = await metrics.read()
  stopFirst()
  const one = await metrics.read()
  stopSecond()
  await metrics.read()

  t.same(both.points(definition.name), [{ labels: { colour: 'red' }, value: 11 }, { labels: { colour: 'blue' }, value: 2 }])
  t.same(one.points(definition.name), [{ labels: { colour: 'red' }, value: 10 }, { labels: { colour: 'blue' }, value: 0 }])
  // kill: leave `removeCallback` and `readers.delete` out of lib/telemetry/observe.ts
  t.equal(asked, 3)
})

t.test('who begins again after the last one has ended is asked by the provider that is there then', async (t) => {
  t.test('in a first one', async (t) => {
    const metrics = collectMetrics(t)
    const stop = observe(definition, () => ({ value: 1 }))

    t.equal((await metrics.read()).value(definition.name), 1)
    stop()
  })
  t.test('in the next one', async (t) => {
    const metrics = collectMetrics(t)
    const stop = observe(definition, () => ({ value: 2 }))

    t.equal((await metrics.read()).value(definition.name), 2)
    stop()
  })
})

t.test('without a provider nobody is asked', async (t) => {
  t.notOk('forceFlush' in api.getMeterProvider())

  const stop = observe(definition, () => { throw new Error('asked') })

  t.doesNotThrow(stop)
})
