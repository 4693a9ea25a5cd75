import { once } from 'node:events'
import { get } from 'node:http'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { propagation, SpanKind, trace } from '@opentelemetry/api'
import type { ReadableSpan } from '@opentelemetry/sdk-trace'
import t, { type Test } from 'tap'
import { enterThread, identityAttributes } from '../../lib/context/current-thread.ts'
import { withHop } from '../../lib/context/hop.ts'
import { createIdentity } from '../../lib/context/identity.ts'
import { newThreadId, toUserId } from '../../lib/protocol/ids.ts'
import { collectSpans } from '../support/spans.ts'

// Before Fastify is loaded, as the preload is.
const collection = collectSpans()
const { default: fastify } = await import('fastify')
const { default: config } = await import('../../plugins/config.ts')
const { default: telemetry } = await import('../../plugins/telemetry.ts')

const identity = createIdentity({ userId: toUserId('alice'), threadId: newThreadId() })
const claimed = { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16) }
const traceparent = `00-${claimed.traceId}-${claimed.spanId}-01`

/** A server that tells what is active in its handlers. */
async function startServer (t: Test): Promise<string> {
  const app = fastify()
  await app.register(config, { env: {} })
  await app.register(telemetry)
  const active = () => ({
    traceId: trace.getActiveSpan()?.spanContext().traceId,
    baggage: propagation.getActiveBaggage()?.getAllEntries() ?? []
  })
  app.get('/active/:id', async () => active())
  app.post('/active', async () => active())
  app.get('/stream', async () => Readable.from(['first', 'second']))
  app.get('/failing', async () => { throw new Error('on purpose') })
  app.get('/calling', async ({ host }) => {
    const url = `http://${host}/active/6?key=k-secret`
    await enterThread(identity, async () => await withHop('tool', {}, async () => {
      await (await fetch(url)).text()
      const [response] = await once(get(url), 'response')
      await buffer(response)
    }))
    return {}
  })
  t.teardown(async () => await app.close())
  return await app.listen({ port: 0, host: '127.0.0.1' })
}

async function serverSpan (path: string): Promise<ReadableSpan> {
  return await collection.until((spans) => spans.findLast((span) => {
    return span.kind === SpanKind.SERVER && span.attributes['url.path'] === path
  }))
}

t.test('the trace that a client claims becomes a link and never a parent', async (t) => {
  const url = await startServer(t)

  const response = await fetch(`${url}/active/1`, { headers: { traceparent, tracestate: 'vendor=1' } })

  const { traceId } = await response.json() as { traceId: string } // what the handler returns
  const span = await serverSpan('/active/1')
  t.equal(span.spanContext().traceId, traceId)
  t.not(traceId, claimed.traceId)
  t.equal(span.parentSpanContext, undefined)
  t.match(span.links, [{ context: { ...claimed, isRemote: true } }])
  t.equal(span.links[0]?.context.traceState, undefined)
})

t.test('a traceparent that is none is ignored', async (t) => {
  const url = await startServer(t)

  for (const hostile of ['', '00', `00-${'0'.repeat(32)}-${claimed.spanId}-01`, `${traceparent}-more`, 'x'.repeat(5000)]) {
    await (await fetch(`${url}/active/2`, { headers: { traceparent: hostile } })).text()
    const span = await serverSpan('/active/2')
    t.same(span.links, [])
    t.equal(span.parentSpanContext, undefined)
    collection.reset()
  }
})

t.test('172 hostile entries of baggage have no effect', async (t) => {
  const url = await startServer(t)
  const entries = Array.from({ length: 172 }, (_, index) => `user.id=mallory${index},gen_ai.conversation.id=${index}`)

  const response = await fetch(`${url}/active/3`, { headers: { baggage: entries.join(',') } })

  t.equal(response.status, 200)
  t.same((await response.json() as { baggage: unknown }).baggage, []) // what the handler returns
  t.notMatch(JSON.stringify((await serverSpan('/active/3')).attributes), 'mallory')
})

t.test('the span of a request is active behind a body, too', async (t) => {
  const url = await startServer(t)

  const response = await fetch(`${url}/active`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ text: 'x'.repeat(100_000) })
  })

  const { traceId } = await response.json() as { traceId: string } // what the handler returns
  t.equal((await serverSpan('/active')).spanContext().traceId, traceId)
})

t.test('a span is named by its route, and tells no secret of its URL', async (t) => {
  const url = await startServer(t)

  await (await fetch(`${url}/active/4?ticket=t-secret&%54oken=t-secret&limit=5`)).text()

  const span = await serverSpan('/active/4')
  t.equal(span.name, 'GET /active/:id')
  t.equal(span.attributes['http.route'], '/active/:id')
  t.match(span.attributes['url.query'], /limit=5/)
  t.notMatch(JSON.stringify(span.attributes), 't-secret')
})

t.test('the span of a stream ends with the stream', async (t) => {
  const url = await startServer(t)

  t.equal(await (await fetch(`${url}/stream`)).text(), 'firstsecond')

  t.match(await serverSpan('/stream'), { name: 'GET /stream', attributes: { 'http.response.status_code': 200 } })
})

t.test('a failed request fails its span', async (t) => {
  const url = await startServer(t)

  await (await fetch(`${url}/failing`)).text()

  t.match(await serverSpan('/failing'), { attributes: { 'http.response.status_code': 500, 'error.type': '500' } })
})

t.test('a request that goes out for somebody tells for whom, and no secret of its URL', async (t) => {
  const url = await startServer(t)

  await (await fetch(`${url}/calling`)).text()

  const calls = await collection.until((spans) => {
    const found = spans.filter(({ kind, name }) => kind === SpanKind.CLIENT && name === 'GET')
    return found.length < 2 ? undefined : found
  })
  for (const { attributes } of calls) {
    t.match(attributes, identityAttributes(identity))
    t.equal(attributes['url.full'], `${url}/active/6?key=REDACTED`)
    t.notMatch(JSON.stringify(attributes), 'k-secret')
  }
})
