import { channel } from 'node:diagnostics_channel'
import { diag, DiagLogLevel } from '@opentelemetry/api'
import t from 'tap'
import { harmless } from '../../lib/telemetry/span-channels.ts'

// kill: the try in harmless; Node then ends the process with what the subscriber has thrown.
t.test('a witness that fails hinders neither what it watches nor the next one, and is told of', async (t) => {
  const told: unknown[] = []
  const ignore = (): void => {}
  diag.setLogger({ error: (...said) => { told.push(said) }, warn: ignore, info: ignore, debug: ignore, verbose: ignore }, DiagLogLevel.ERROR)
  t.teardown(() => { diag.disable() })
  const watched = channel('threadline:test')
  const seen: unknown[] = []
  const failure = new Error('blind')
  watched.subscribe(harmless(() => { throw failure }))
  watched.subscribe(harmless((message) => { seen.push(message) }))

  watched.publish('a span')
  await new Promise(setImmediate) // where Node would throw what a subscriber has thrown

  t.same(seen, ['a span'])
  t.same(told, [['A witness failed', failure]])
})
