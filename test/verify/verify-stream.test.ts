import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { Report, TraceReport } from '../../verify/report.ts'
import type { Span } from '../../verify/span.ts'
import { threadlineProfile } from '../../verify/threadline-profile.ts'
import { verify } from '../../verify/verify.ts'
import { verifyStream, type StreamOptions } from '../../verify/verify-stream.ts'
import { makeTrace, muchLater, spanNamed, withAttributes } from '../support/made-trace.ts'

interface Test { teardown (fn: () => Promise<void>): void }

async function folder (t: Test): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'threadline-test-'))
  t.teardown(async () => { await rm(directory, { recursive: true, force: true }) })
  return directory
}

/** Traces that lie one in the other: the first span of each, the second of each, and so on. */
function interleaved (traces: readonly (readonly Span[])[]): readonly Span[] {
  const longest = Math.max(...traces.map(({ length }) => length))
  return Array.from({ length: longest }, (_, index) => traces.flatMap((trace) => trace[index] ?? [])).flat()
}

async function * streamOf (spans: readonly Span[]): AsyncGenerator<Span> { yield * spans }

const traces = Array.from({ length: 300 }, (_, index) => {
  const spans = makeTrace({ seed: `stream ${index}`, user: `user-${index}`, thread: `thread-${index}`, tools: index % 3 })
  if (index % 10 === 0) return withAttributes(spans, spanNamed(spans, 'emitter'), { [threadlineProfile.attributes.user]: 'mallory' })
  return index % 10 === 1 ? spans.filter((span) => span !== spanNamed(spans, 'engine')) : spans
})
const sorted = ({ findings, incomplete, ...report }: Report) =>
  ({ ...report, findings: findings.toSorted((one, other) => one.spanId.localeCompare(other.spanId)), incomplete: incomplete.toSorted() })

t.test('what does not fit into memory is verified as if it did, and leaves no file', async (t) => {
  const spans = interleaved(traces)
  const expected = verify(spans, { nowMs: muchLater })
  const directory = await folder(t)

  // All at once; by files; by files that had to be parted again.
  for (const maxSpansInMemory of [100_000, 500, 60]) {
    const report = await verifyStream(streamOf(spans), { nowMs: muchLater, maxSpansInMemory, maxTraceSpans: 30, directory })

    t.same(sorted(report), sorted(expected), `${maxSpansInMemory} spans in memory`)
  }
  t.match(expected, { verdict: 'findings', traces: { checked: 300, clean: 240, withFindings: 60, incomplete: 0 } })
  t.same(await readdir(directory), [])
})

t.test('line breaks of every kind in what spans say do no harm to files', async (t) => {
  const odd = traces.slice(2, 10).map((spans) => spans.map((span) => ({ ...span, name: `${span.name} \n\r\u0085\u2028\u2029` })))

  const report = await verifyStream(interleaved(odd), { nowMs: muchLater, maxSpansInMemory: 60 })

  t.match(report, { verdict: 'clean', traces: { checked: 8, clean: 8 } })
})

t.test('each trace is told, whole, and waited for', async (t) => {
  const told: TraceReport[] = []
  let waiting = 0
  const onTrace = async (report: TraceReport): Promise<void> => {
    t.equal(waiting, 0)
    waiting += 1
    await Promise.resolve()
    waiting -= 1
    told.push(report)
  }

  await verifyStream(interleaved(traces), { nowMs: muchLater, maxSpansInMemory: 200, onTrace })

  t.same(told.map(({ traceId, spans }) => `${traceId} ${spans}`).toSorted(), traces.map((trace) => `${trace[0]?.traceId} ${trace.length}`).toSorted())
})

t.test('a trace without end is counted, and not verified nor kept', async (t) => {
  const endless = makeTrace({ seed: 'endless', tools: 40 })
  const usual = makeTrace()
  const directory = await folder(t)

  for (const maxSpansInMemory of [1000, 60]) {
    const told: TraceReport[] = []
    const options: StreamOptions = { nowMs: muchLater, maxSpansInMemory, maxTraceSpans: 30, directory, onTrace: (report) => { told.push(report) } }
    const { verdict, traces } = await verifyStream(interleaved([endless, usual]), options)

    t.match({ verdict, traces }, { verdict: 'incomplete', traces: { checked: 2, clean: 1, incomplete: 1 } })
    t.match(told.find(({ traceId }) => traceId === endless[0]?.traceId), { spans: endless.length, incomplete: ['It has more than 30 spans, and was not verified'] })
  }
  t.same(await readdir(directory), [])
})

t.test('when the source or a listener fails, or nobody wants to know any more, no file is left', async (t) => {
  const directory = await folder(t)
  const limits: StreamOptions = { maxSpansInMemory: 100, maxTraceSpans: 30, nowMs: muchLater, directory }
  const all = interleaved(traces)
  async function * breaking (): AsyncGenerator<Span> {
    yield * all
    throw new Error('the source broke')
  }
  const limit = new AbortController()
  async function * aborting (): AsyncGenerator<Span> {
    yield * all.slice(0, 500)
    t.equal((await readdir(directory)).length, 1, 'there are files')
    limit.abort(new Error('not wanted'))
    yield * all
  }

  await t.rejects(verifyStream(breaking(), limits), { message: 'the source broke' })
  await t.rejects(verifyStream(all, { ...limits, onTrace () { throw new Error('the listener broke') } }), { message: 'the listener broke' })
  await t.rejects(verifyStream(aborting(), { ...limits, signal: limit.signal }), { message: 'not wanted' })
  await t.rejects(verifyStream(all, { ...limits, directory: join(directory, 'nowhere') }), { code: 'ENOENT' })
  t.same(await readdir(directory), [])
})

t.test('what is no span is counted', async (t) => {
  const odd = [{}, null, { traceId: '0'.repeat(32), spanId: 'a', startedAt: 1 }, { traceId: 'a', spanId: 'b', startedAt: Number.NaN }] as unknown as Span[]

  const report = await verifyStream([...odd, ...makeTrace()], { nowMs: muchLater })

  t.match(report, { verdict: 'incomplete', traces: { checked: 1, clean: 1 }, incomplete: ['4 spans have no usable ids or no time'] })
})
