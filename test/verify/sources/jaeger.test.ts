import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createJaegerQuery, type JaegerApi } from '../../../verify/sources/jaeger-query.ts'
import { readJaegerTraces, searchJaeger, type JaegerSourceOptions } from '../../../verify/sources/jaeger-source.ts'
import type { Span } from '../../../verify/span.ts'
import { longAgo, makeTrace } from '../../support/made-trace.ts'
import { findClosedEndpoint } from '../../support/otlp-receiver.ts'
import { recordedAnswer as answer, startRecordedServer } from '../../support/recorded-server.ts'
import { allSpans, hear, inOrder, toOtlpJson, type Heard } from '../../support/span-files.ts'

/** Recorded from Jaeger 2.13. */
const recorded = (name: string): Buffer => readFileSync(join(import.meta.dirname, '../../fixtures/span-sources/jaeger', name))

const traceId = '593b41443ec4d6b708e3f4de73da008b'
const unknownId = '00000000000000000000000000000001'
const hourMs = 3_600_000
const startMs = longAgo / 1000
const search = { service: 'threadline', startMs, endMs: startMs + hourMs, attributes: {}, limit: 100 }

function reading (heard: Heard, options: Partial<JaegerSourceOptions> = {}): JaegerSourceOptions {
  return { name: 'Jaeger', notices: heard, isSettled: () => true, waitMs: 0, pollMs: 1, ...options }
}

/** A Jaeger that answers what it answered when it was recorded, beneath `/jaeger/`. */
async function startJaeger (t: Test) {
  return await startRecordedServer(t, ({ pathname, searchParams }, response) => {
    const isUnknown = pathname.endsWith(unknownId)
    const isOther = (searchParams.get('service') ?? searchParams.get('query.service_name')) === 'other'
    if (pathname === '/jaeger/api/traces') answer(response, recorded(isOther ? 'v1-find-nothing.json' : 'v1-find.json'))
    else if (pathname.startsWith('/jaeger/api/traces/')) answer(response, recorded(isUnknown ? 'v1-not-found.json' : 'v1-trace.json'), isUnknown ? 404 : 200)
    else if (pathname === '/jaeger/api/v3/traces') answer(response, recorded(isOther ? 'v3-find-nothing.json' : 'v3-find.json'), isOther ? 404 : 200)
    else if (pathname.startsWith('/jaeger/api/v3/traces/')) answer(response, recorded(isUnknown ? 'v3-not-found.json' : 'v3-trace.json'), isUnknown ? 404 : 200)
    else answer(response, recorded('page.html'), 200, 'text/html')
  })
}

const apis: readonly JaegerApi[] = ['v1', 'v3']

t.test('both APIs give the same spans, by trace and by time', async (t) => {
  const { url } = await startJaeger(t)
  const found: Record<string, readonly Span[]> = {}
  for (const api of apis) {
    const heard = hear()
    const query = createJaegerQuery({ url: `${url}/jaeger`, api, timeoutMs: 10_000, notices: heard })

    const trace = await allSpans(readJaegerTraces(query, [traceId], reading(heard)))
    const all = await allSpans(searchJaeger(query, search, reading(heard)))

    t.equal(trace.length, 14)
    t.equal(new Set(all.map((span) => span.traceId)).size, 6)
    t.same(inOrder(trace), inOrder(all.filter((span) => span.traceId === traceId)))
    t.same(heard.problems, [])
    // Jaeger's own format has no lists.
    found[api] = inOrder(all.map(({ attributes: { 'gen_ai.response.finish_reasons': _list, ...attributes }, ...span }) => ({ ...span, attributes })))
  }

  t.same(found['v1'], found['v3'])
  const receive = found['v3']?.find(({ name }) => name === 'socket.receive')
  t.match(receive, { kind: 'server', links: [{ traceId: /^[0-9a-f]{32}$/ }], parentSpanId: undefined, service: 'threadline' })
})

t.test('a search says what it looks for in the words of its API', async (t) => {
  const { url, asked } = await startJaeger(t)
  const wanted = { ...search, attributes: { 'user.id': 'alice' } }
  for (const api of apis) {
    await allSpans(searchJaeger(createJaegerQuery({ url: `${url}/jaeger/`, api, timeoutMs: 10_000, notices: hear() }), wanted, reading(hear())))
  }

  const [first, third] = asked.map(({ searchParams }) => Object.fromEntries(searchParams))
  t.match(first, { service: 'threadline', start: String(startMs * 1000), end: String((startMs + hourMs) * 1000), limit: '100', tags: '{"user.id":"alice"}' })
  t.match(third, {
    'query.service_name': 'threadline', 'query.start_time_min': '2026-01-01T00:00:00.000Z', 'query.start_time_max': '2026-01-01T01:00:00.000Z', 'query.num_traces': '100'
  })
})

t.test('of the third API, which looks for no attributes, only the traces that were wanted are kept', async (t) => {
  const { url } = await startJaeger(t)
  const query = createJaegerQuery({ url: `${url}/jaeger`, api: 'v3', timeoutMs: 10_000, notices: hear() })

  const spans = await allSpans(searchJaeger(query, { ...search, attributes: { 'user.id': 'bob' } }, reading(hear())))

  t.ok(spans.length > 0)
  t.same(new Set(spans.flatMap(({ attributes }) => attributes['user.id'] ?? [])), new Set(['bob']))
})

t.test('a trace that is not there is a problem, and nothing found by time is none', async (t) => {
  const { url } = await startJaeger(t)
  for (const api of apis) {
    const heard = hear()
    const query = createJaegerQuery({ url: `${url}/jaeger`, api, timeoutMs: 10_000, notices: heard })

    t.same(await allSpans(readJaegerTraces(query, [unknownId], reading(heard))), [])
    t.same(await allSpans(searchJaeger(query, { ...search, service: 'other' }, reading(heard))), [])

    t.same(heard.problems, [`Could not read trace ${unknownId} from Jaeger: it is not there`])
  }
})

t.test('what is no answer of Jaeger is a problem, whatever it is', async (t) => {
  const silent = await startRecordedServer(t, () => {})
  const cut = await startRecordedServer(t, (_url, response) => {
    response.writeHead(200, { 'content-length': '100000' })
    response.write('{"data":[', () => { response.destroy() })
  })
  const cases: readonly (readonly [url: string, problem: RegExp])[] = [
    [(await startRecordedServer(t, (_url, response) => { answer(response, recorded('page.html'), 200, 'text/html; charset=utf-8') })).url, /200 was answered, with text\/html instead of JSON/],
    [(await startRecordedServer(t, (_url, response) => { answer(response, 'Bad gateway', 502, '') })).url, /502 was answered, with something instead of JSON/],
    [(await startRecordedServer(t, (_url, response) => { answer(response, recorded('v1-error.json'), 500) })).url, /500 was answered: search depth must be greater than 0/],
    [(await startRecordedServer(t, (_url, response) => { answer(response, '{"hello":1}') })).url, /the answer is none of Jaeger/],
    [(await startRecordedServer(t, (_url, response) => { answer(response, '[]') })).url, /the answer is none of Jaeger/],
    [(await startRecordedServer(t, (_url, response) => { answer(response, '') })).url, /with text\/plain instead of JSON/],
    [silent.url, /there was no answer in time/],
    [cut.url, /the connection was cut/],
    [await findClosedEndpoint(), /nothing listens there/]
  ]
  for (const [url, problem] of cases) {
    for (const api of apis) {
      const heard = hear()
      const query = createJaegerQuery({ url, api, timeoutMs: url === silent.url ? 50 : 10_000, notices: heard })

      t.same(await allSpans(searchJaeger(query, search, reading(heard))), [])
      t.same(await allSpans(readJaegerTraces(query, [traceId], reading(heard))), [])

      t.equal(heard.problems.length, 2, `${problem} ${api}`)
      t.match(heard.problems, [problem, problem])
    }
  }
})

/** A Jaeger that has these traces, and gives no more of them than it is asked for. */
async function startStore (t: Test, traces: readonly (readonly Span[])[]) {
  return await startRecordedServer(t, ({ pathname, searchParams }, response) => {
    if (pathname !== '/api/v3/traces') {
      const trace = traces.find(([span]) => span !== undefined && pathname.endsWith(span.traceId)) ?? []
      answer(response, `{"result":${toOtlpJson(trace).toString()}}`)
      return
    }
    const from = Date.parse(searchParams.get('query.start_time_min') ?? '') * 1000
    const to = Date.parse(searchParams.get('query.start_time_max') ?? '') * 1000
    const inWindow = traces.filter((trace) => trace.some(({ startedAt }) => startedAt >= from && startedAt <= to))
    const given = inWindow.slice(0, Number(searchParams.get('query.num_traces')))
    // One document a trace, each on a line of its own, as a gateway streams them.
    if (given.length > 0) answer(response, given.map((trace) => `{"result":${toOtlpJson(trace).toString()}}\n`).join(''))
    else answer(response, recorded('v3-find-nothing.json'), 404)
  })
}

// kill: in findTraces, pass over whether a window is full.
t.test('where there are more traces than were asked for at once, all of them are found, each once', async (t) => {
  const traces = Array.from({ length: 40 }, (_item, index) => makeTrace({ seed: `${index}`, tools: 0, startedAt: longAgo + index * index * 1_000_000 }))
  const { url, asked } = await startStore(t, traces)
  const heard = hear()
  const query = createJaegerQuery({ url, api: 'v3', timeoutMs: 10_000, notices: heard })

  const spans = await allSpans(searchJaeger(query, { ...search, limit: 5 }, reading(heard)))

  t.same(inOrder(spans), inOrder(traces.flat()))
  t.same(heard.problems, [])
  t.ok(asked.length > 8)
})

t.test('more traces than can be asked for in one moment are said to be missing', async (t) => {
  const traces = Array.from({ length: 8 }, (_item, index) => makeTrace({ seed: `${index}`, tools: 0 }))
  const { url } = await startStore(t, traces)
  const heard = hear()
  const query = createJaegerQuery({ url, api: 'v3', timeoutMs: 10_000, notices: heard })

  const spans = await allSpans(searchJaeger(query, { ...search, endMs: startMs + 500, limit: 5 }, reading(heard)))

  t.equal(new Set(spans.map((span) => span.traceId)).size, 5)
  t.match(heard.problems, [/more than 5 traces in one millisecond/])
})

t.test('a trace that is not settled is asked for again, until it is', async (t) => {
  const trace = makeTrace()
  let answers = 0
  const { url } = await startRecordedServer(t, (_url, response) => {
    answers += 1
    answer(response, `{"result":${toOtlpJson(trace.slice(0, answers * 5)).toString()}}`)
  })
  const heard = hear()
  const query = createJaegerQuery({ url, api: 'v3', timeoutMs: 10_000, notices: heard })
  const options = reading(heard, { isSettled: (spans) => spans.length === trace.length, waitMs: 60_000 })

  const spans = await allSpans(readJaegerTraces(query, [traceId], options))
  const once = await allSpans(readJaegerTraces(query, [traceId], reading(heard, { isSettled: () => false })))

  t.same(inOrder(spans), inOrder(trace))
  t.equal(answers, Math.ceil(trace.length / 5) + 2, 'once more to see that it has not grown, and once without waiting')
  t.equal(once.length, trace.length)
})

// kill: in searchJaeger, search once.
t.test('traces of just now that Jaeger has not heard of yet are looked for again', async (t) => {
  const first = makeTrace({ seed: 'first' })
  const second = makeTrace({ seed: 'second' })
  let searches = 0
  const { url } = await startRecordedServer(t, ({ pathname }, response) => {
    if (pathname !== '/api/v3/traces') {
      answer(response, `{"result":${toOtlpJson(first).toString()}}`)
      return
    }
    searches += 1
    if (searches < 3) answer(response, recorded('v3-find-nothing.json'), 404)
    else answer(response, `{"result":${toOtlpJson(searches === 3 ? first.slice(0, 5) : [...first, ...second]).toString()}}`)
  })
  const heard = hear()
  const query = createJaegerQuery({ url, api: 'v3', timeoutMs: 10_000, notices: heard })
  const now = { ...search, endMs: Date.now() }

  const spans = await allSpans(searchJaeger(query, now, reading(heard, { isSettled: (trace) => trace.length > 5, waitMs: 600_000 })))
  const asked = searches
  const past = await allSpans(searchJaeger(query, search, reading(heard, { isSettled: () => false, waitMs: 600_000 })))

  t.same(inOrder(spans), inOrder([...first, ...second]))
  t.equal(asked, 4)
  t.equal(past.length, first.length + second.length, 'what is long ago is not waited for')
  t.same(heard.problems, [])
})

t.test('what was found is given when Jaeger goes away before it is settled', async (t) => {
  let answers = 0
  const { url } = await startRecordedServer(t, (_url, response) => {
    answers += 1
    if (answers === 1) answer(response, recorded('v3-find.json'))
    else response.destroy()
  })
  const heard = hear()
  const query = createJaegerQuery({ url, api: 'v3', timeoutMs: 10_000, notices: heard })

  const now = { ...search, endMs: Date.now() }

  const spans = await allSpans(searchJaeger(query, now, reading(heard, { isSettled: () => false, waitMs: 60_000 })))

  t.equal(spans.length, 34)
  t.same(heard.problems, ['Could not read from Jaeger: the connection was cut'])
})

t.test('whoever interrupts gets an end', async (t) => {
  const interruption = new AbortController()
  const { url } = await startRecordedServer(t, (_url, response) => {
    answer(response, recorded('v3-find.json'))
    interruption.abort()
  })
  const heard = hear()
  const query = createJaegerQuery({ url, api: 'v3', timeoutMs: 10_000, notices: heard, signal: interruption.signal })
  const options = reading(heard, { isSettled: () => false, waitMs: 600_000, pollMs: 600_000, signal: interruption.signal })

  const spans = await allSpans(searchJaeger(query, search, options))

  t.ok(spans.length === 34 || heard.problems.length === 1)
})
