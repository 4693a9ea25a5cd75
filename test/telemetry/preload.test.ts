import t from 'tap'
import { findClosedEndpoint, startOtlpReceiver } from '../support/otlp-receiver.ts'
import { runWithPreload } from '../support/run-program.ts'

interface Report {
  readonly outcome: string
  readonly flushMs: number
  readonly connections: number
  readonly fields: Readonly<Record<string, string>>
  readonly identity: { readonly userId: string, readonly threadId: string, readonly requestId: string }
}

/** Ends `SPANS` spans and one hop in a process of its own. */
async function emitSpans (env: Readonly<Record<string, string>>): Promise<{ report: Report, errors: string }> {
  const { exitCode, output, errors } = await runWithPreload('test/telemetry/programs/emit-spans.ts', env)
  if (exitCode !== 0) throw new Error(`The program ended with ${exitCode}: ${errors}`)
  return { report: JSON.parse(output) as Report, errors } // what the program writes
}

t.test('without an endpoint nothing connects, nothing is complained of, and a span still has ids', async (t) => {
  const { report, errors } = await emitSpans({ SPANS: '10' })

  t.equal(report.outcome, 'flushed')
  t.equal(report.connections, 0)
  t.equal(errors, '')
  t.match(report.fields, { trace_id: /^[0-9a-f]{32}$/, span_id: /^[0-9a-f]{16}$/ })
})

t.test('a burst of 5,000 spans arrives whole with the default settings', async (t) => {
  const receiver = await startOtlpReceiver(t)

  const { report, errors } = await emitSpans({
    SPANS: '5000', OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json'
  })

  t.equal(report.outcome, 'flushed')
  t.ok(report.connections > 0)
  t.equal(errors, '')
  t.equal(new Set(receiver.spans().map(({ name }) => name)).size, 5001, '5,000 of the burst and the hop')
  t.equal(receiver.spans().length, 5001)
})

t.test('a flush sends a full queue, though it is more batches than the exporter takes at once by default', async (t) => {
  const receiver = await startOtlpReceiver(t)

  await emitSpans({
    SPANS: '3999', OTEL_BSP_MAX_QUEUE_SIZE: '4000', OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '50',
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${receiver.endpoint}/v1/traces`, OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http/json'
  })

  t.equal(receiver.spans().length, 4000)
})

t.test('a queue that overflows says how much was lost', async (t) => {
  const receiver = await startOtlpReceiver(t)

  const { errors } = await emitSpans({
    SPANS: '300', OTEL_BSP_MAX_QUEUE_SIZE: '100', OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json'
  })

  const logged = [...errors.matchAll(/(\d+) spans were dropped/g)].map(([, count]) => Number(count))
  const lost = logged.reduce((sum, count) => sum + count, 0)
  t.ok(lost > 0)
  t.equal(receiver.spans().length + lost, 301)
})

t.test('the standard protocol is protobuf, with the headers and the name that the environment gives', async (t) => {
  const receiver = await startOtlpReceiver(t)

  const { report } = await emitSpans({
    SPANS: '1', OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint, OTEL_EXPORTER_OTLP_HEADERS: 'x-tenant=blue', OTEL_SERVICE_NAME: 'chat-of-blue'
  })

  t.match(receiver.requests, [{ path: '/v1/traces', headers: { 'content-type': 'application/x-protobuf', 'x-tenant': 'blue' } }])
  const body = receiver.requests[0]?.body
  t.ok(body?.includes('burst 0'))
  t.ok(body?.includes('chat-of-blue'))
  t.ok(body?.includes(report.identity.threadId))
})

t.test('the resource names the service, and neither command line nor paths nor accounts of the machine', async (t) => {
  const receiver = await startOtlpReceiver(t)

  await emitSpans({
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json', OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test'
  })

  const resource = receiver.resourceAttributes()
  t.equal(resource.get('service.name'), 'threadline')
  t.equal(resource.get('deployment.environment.name'), 'test')
  t.match(resource.get('service.version'), /^\d+\.\d+\.\d+/)
  for (const name of ['process.command_args', 'process.command', 'process.executable.path', 'process.owner', 'host.id']) {
    t.notOk(resource.has(name), name)
  }
  t.notOk(receiver.requests.some(({ body }) => body.includes('emit-spans.ts')))
})

t.test('with an endpoint only traces are sent, metrics and logs when they are asked for', async (t) => {
  const quiet = await startOtlpReceiver(t)
  const asked = await startOtlpReceiver(t)
  const overflow = { SPANS: '9', OTEL_BSP_MAX_QUEUE_SIZE: '1' }

  await Promise.all([
    emitSpans({ ...overflow, OTEL_EXPORTER_OTLP_ENDPOINT: quiet.endpoint }),
    emitSpans({
      ...overflow, OTEL_EXPORTER_OTLP_ENDPOINT: asked.endpoint, OTEL_METRICS_EXPORTER: 'otlp', OTEL_LOGS_EXPORTER: 'otlp'
    })
  ])

  t.same(new Set(quiet.requests.map(({ path }) => path)), new Set(['/v1/traces']))
  t.same(new Set(asked.requests.map(({ path }) => path)), new Set(['/v1/traces', '/v1/metrics', '/v1/logs']))
  t.ok(asked.requests.some(({ path, body }) => path === '/v1/metrics' && body.includes('threadline.telemetry.spans_dropped')))
})

t.test('the sampler of the environment decides', async (t) => {
  const receiver = await startOtlpReceiver(t)

  const { report } = await emitSpans({
    SPANS: '5', OTEL_TRACES_SAMPLER: 'always_off', OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json'
  })

  t.same(receiver.spans(), [])
  t.match(report.fields['trace_id'], /^[0-9a-f]{32}$/, 'a span that is not sampled has ids, too')
})

t.test('with the collector down a flush ends at its limit', async (t) => {
  const { report } = await emitSpans({ SPANS: '100', FLUSH_MS: '300', OTEL_EXPORTER_OTLP_ENDPOINT: await findClosedEndpoint() })

  t.equal(report.outcome, 'timed_out')
  t.ok(report.flushMs < 3000, `took ${report.flushMs} ms`)
})

t.test('OTEL_SDK_DISABLED takes the spans and leaves the identity', async (t) => {
  const receiver = await startOtlpReceiver(t)

  const { report, errors } = await emitSpans({ SPANS: '5', OTEL_SDK_DISABLED: 'true', OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint })

  const { userId, threadId, requestId } = report.identity
  t.same(report.fields, { user_id: userId, thread_id: threadId, request_id: requestId })
  t.equal(report.outcome, 'flushed')
  t.equal(report.connections, 0)
  t.equal(errors, '')
})

t.test('an exporter that is not known is named, and the service runs', async (t) => {
  const { report, errors } = await emitSpans({ OTEL_TRACES_EXPORTER: 'pigeon' })

  t.equal(report.outcome, 'flushed')
  t.match(errors, /pigeon is not supported/)
})
