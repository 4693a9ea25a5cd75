import { PassThrough } from 'node:stream'
import { trace } from '@opentelemetry/api'
import fastify from 'fastify'
import t from 'tap'
import { enterThread } from '../../lib/context/current-thread.ts'
import { withHop } from '../../lib/context/hop.ts'
import { createRunIdentity } from '../../lib/context/identity.ts'
import { newRunId, newThreadId, toUserId } from '../../lib/protocol/ids.ts'
import { logContext } from '../../lib/telemetry/log-context.ts'
import { loggerOptions } from '../../lib/telemetry/logger-options.ts'
import { collectSpans } from '../support/spans.ts'

collectSpans()

const token = `${btoa('{"alg":"HS256"}')}.${btoa('{"sub":"alice"}')}.c2lnbmF0dXJl`.replaceAll('=', '')

/** A server that logs as the product does, and the lines that it has logged. */
function createServer () {
  const stream = new PassThrough()
  const app = fastify({ logger: { ...loggerOptions, stream } })
  const lines = () => String(stream.read() ?? '').split('\n').filter((line) => line !== '')
  return { app, lines }
}

t.test('a line carries the ids of the run that it was logged for', async (t) => {
  const { app, lines } = createServer()
  const threadId = newThreadId()
  const identity = createRunIdentity({ userId: toUserId('alice'), threadId, runId: newRunId(threadId) })

  const spanContext = await enterThread(identity, async () => await withHop('engine', {}, async (span) => {
    await Promise.resolve()
    app.log.info('in the run')
    return span.spanContext()
  }))

  t.match(lines().map((line) => JSON.parse(line) as unknown), [{
    msg: 'in the run',
    trace_id: spanContext.traceId,
    span_id: spanContext.spanId,
    user_id: 'alice',
    thread_id: threadId,
    run_id: identity.runId,
    request_id: identity.requestId
  }])
})

t.test('outside of an identity and of a span there are no ids', async (t) => {
  t.same(logContext(), {})
  trace.getTracer('test').startActiveSpan('alone', (span) => {
    t.same(Object.keys(logContext()), ['trace_id', 'span_id'])
    span.end()
  })
})

t.test('every line of a request carries its trace, the first and the last as well', async (t) => {
  const { app, lines } = createServer()
  app.post('/logging', async ({ log }) => { log.info('in the handler'); return {} })
  t.teardown(async () => await app.close())
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  lines()

  await (await fetch(`${url}/logging`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' })).text()
  await app.close()

  const logged = lines().map((line) => JSON.parse(line) as { msg: string, trace_id?: string }) // what pino writes
  t.same(logged.map(({ msg }) => msg), ['incoming request', 'in the handler', 'request completed'])
  t.match(logged[0]?.trace_id, /^[0-9a-f]{32}$/)
  t.equal(new Set(logged.map(({ trace_id: traceId }) => traceId)).size, 1)
})

t.test('a request is logged without the ticket of its URL, found or not', async (t) => {
  const { app, lines } = createServer()
  app.get('/v1/socket', async () => ({}))
  t.teardown(async () => await app.close())
  const url = await app.listen({ port: 0, host: '127.0.0.1' })

  await (await fetch(`${url}/v1/socket?thread_id=t1&ticket=t-secret`)).text()
  await (await fetch(`${url}/v1/socket?%74icket=t-secret`)).text()
  await (await fetch(`${url}/nowhere?ticket=t-secret`)).text()
  await app.close()

  const text = lines().join('\n')
  t.notMatch(text, 't-secret')
  t.match(text, '/v1/socket?thread_id=t1&ticket=REDACTED')
  t.match(text, 'Route GET:/nowhere?ticket=REDACTED not found')
})

t.test('a token is not logged, wherever it stands', async (t) => {
  const { app, lines } = createServer()
  const secrets = { deep: { deeper: { headers: { Authorization: `Bearer ${token}`, cookie: 'session=s-secret' } } } }

  app.log.info({ authorization: 'Basic s-secret', token: 's-secret', ticket: 's"-secret' }, 'fields')
  app.log.info(secrets, 'nested')
  app.log.info({ protocols: ['threadline.v1', `bearer.${token}`] }, `offered bearer.${token}`)
  app.log.error(new Error(`refused Bearer opaque-token-s-secret at /v1/socket?ticket=s-secret`), 'error')

  const logged = lines()
  t.equal(logged.length, 4)
  for (const line of logged) {
    t.notMatch(line, /s"?-secret|eyJ/)
    t.doesNotThrow(() => { JSON.parse(line) })
  }
})

t.test('what is not secret is logged as it is', async (t) => {
  const { app, lines } = createServer()

  app.log.info({ thread: 'bearer of news', keyboard: 'a?b=c', tokens: 12 }, 'ticket sold')

  t.match(lines().map((line) => JSON.parse(line) as unknown), [{ thread: 'bearer of news', keyboard: 'a?b=c', tokens: 12, msg: 'ticket sold' }])
})
