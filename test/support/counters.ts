import { metrics, type Attributes } from '@opentelemetry/api'

interface Test {
  teardown (fn: () => void): void
}

export interface Count { readonly counter: string, readonly value: number, readonly attributes: Attributes | undefined }

/** What is counted until the end of the test, as a meter provider sees it. */
export function watchCounters (t: Test): readonly Count[] {
  const counts: Count[] = []
  const noop = metrics.getMeterProvider()
  metrics.setGlobalMeterProvider({
    getMeter: (name) => Object.assign(Object.create(noop.getMeter(name)), {
      createCounter: (counter: string) => ({
        add: (value: number, attributes?: Attributes) => { counts.push({ counter, value, attributes }) }
      })
    })
  })
  t.teardown(() => { metrics.disable() })
  return counts
}
