import { SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import t from 'tap'
import { enterThread } from '../../lib/context/current-thread.ts'
import { failSpan, hops, runInSpan, withHop } from '../../lib/context/hop.ts'
import { createIdentity } from '../../lib/context/identity.ts'
import { ThreadlineError } from '../../lib/errors.ts'
import { newConnectionId, newThreadId, toUserId } from '../../lib/protocol/ids.ts'
import { inRun, newRun } from '../support/identities.ts'
import { collectSpans } from '../support/spans.ts'

const spans = collectSpans()
const tracer = trace.getTracer('test')
t.beforeEach(() => { spans.reset() })

t.test('B20 each hop is a span that carries the identity it ran in', async (t) => {
  const run = newRun('alice')
  const connected = createIdentity({ userId: toUserId('bob'), threadId: newThreadId(), connectionId: newConnectionId() })

  enterThread(run, () => { for (const hop of hops) withHop(hop, {}, () => {}) })
  enterThread(connected, () => { withHop('socket.receive', { name: 'receive', kind: SpanKind.SERVER, attributes: { 'threadline.command': 'ping' } }, () => {}) })

  const recorded = spans.spans()
  t.same(recorded.map(({ name }) => name), [...hops, 'receive'])
  for (const [index, hop] of hops.entries()) {
    t.strictSame(recorded[index]?.attributes, {
      'threadline.hop': hop,
      'user.id': 'alice',
      'gen_ai.conversation.id': run.threadId,
      'threadline.run.id': run.runId,
      'threadline.request.id': run.requestId
    })
  }
  t.equal(recorded.at(-1)?.kind, SpanKind.SERVER)
  t.strictSame(recorded.at(-1)?.attributes, {
    'threadline.hop': 'socket.receive',
    'user.id': 'bob',
    'gen_ai.conversation.id': connected.threadId,
    'threadline.connection.id': connected.connectionId,
    'threadline.request.id': connected.requestId,
    'threadline.command': 'ping'
  })
})

t.test('a hop is the active span while it runs, and gives its result on', async (t) => {
  await inRun(newRun('alice'), async () => {
    const result = withHop('handler', {}, (handler) => {
      t.equal(trace.getActiveSpan(), handler)
      return withHop('engine', {}, (engine) => {
        t.equal(trace.getActiveSpan(), engine)
        return 7
      })
    })

    t.equal(result, 7)
    t.equal(trace.getActiveSpan(), undefined)
  })
  const [handler, engine] = spans.spans()
  t.equal(engine?.parentSpanContext?.spanId, handler?.spanContext().spanId)
})

t.test('a hop that waits ends when it has settled, not before', async (t) => {
  const gate = Promise.withResolvers<string>()

  await inRun(newRun('alice'), async () => {
    const result = withHop('tool', {}, async () => await gate.promise)
    t.equal(spans.spans().length, 0, 'it has not ended')
    gate.resolve('done')
    t.equal(await result, 'done')
  })

  t.same(spans.spans().map(({ status, events }) => [status.code, events]), [[SpanStatusCode.UNSET, []]])
})

t.test('a hop that fails has the error on its span, once, and throws it on', async (t) => {
  const failures: readonly [unknown, string, string][] = [
    [new ThreadlineError('THREADLINE_TOOL_FAILED'), 'THREADLINE_TOOL_FAILED', 'The tool failed'],
    [new RangeError('too far'), 'RangeError', 'too far'],
    ['a string', 'unknown', 'a string'],
    [undefined, 'unknown', 'undefined']
  ]

  for (const [error, type, message] of failures) {
    spans.reset()
    const caught: unknown[] = []
    await inRun(newRun('alice'), async () => {
      try {
        withHop('tool', {}, () => { throw error })
      } catch (thrown) {
        caught.push(thrown)
      }
      await withHop('tool', {}, async () => { await Promise.resolve(); throw error }).catch((rejected: unknown) => { caught.push(rejected) })
    })

    t.strictSame(caught, [error, error])
    t.equal(spans.spans().length, 2)
    for (const span of spans.spans()) {
      t.equal(span.attributes['error.type'], type)
      t.strictSame(span.status, { code: SpanStatusCode.ERROR, message })
      t.equal(span.events.filter(({ name }) => name === 'exception').length, error instanceof Error ? 1 : 0)
    }
  }
})

t.test('an error that cannot be put into words is thrown on as it is', async (t) => {
  const silent = Object.create(null) as object
  const hostile = Object.defineProperty(new Error('x'), 'message', { get () { throw new Error('the getter threw') } })

  const thrown: readonly unknown[] = [silent, hostile, Symbol('x'), { toString: () => { throw new Error('toString threw') } }]

  for (const error of thrown) {
    const caught: unknown[] = []
    try {
      runInSpan(tracer.startSpan('work'), () => { throw error })
    } catch (same) {
      caught.push(same)
    }
    await runInSpan(tracer.startSpan('work'), async () => { throw error }).catch((rejected: unknown) => { caught.push(rejected) })

    t.ok(caught.length === 2 && caught.every((one) => one === error))
  }
  t.equal(spans.spans().length, 8, 'every span has ended')
  t.ok(spans.spans().every(({ status }) => status.code === SpanStatusCode.ERROR))
})

t.test('a span that is given is ended the same way', async (t) => {
  t.equal(runInSpan(tracer.startSpan('sync'), () => 1), 1)
  t.equal(await runInSpan(tracer.startSpan('async'), async () => 2), 2)
  t.throws(() => { runInSpan(tracer.startSpan('throws'), () => { throw new Error('no') }) }, { message: 'no' })
  await t.rejects(runInSpan(tracer.startSpan('rejects'), async () => { throw new Error('no') }), { message: 'no' })

  t.same(spans.spans().map(({ name, status }) => [name, status.code]), [
    ['sync', SpanStatusCode.UNSET], ['async', SpanStatusCode.UNSET], ['throws', SpanStatusCode.ERROR], ['rejects', SpanStatusCode.ERROR]
  ])
})

t.test('an error can be put on a span that goes on', async (t) => {
  const span = tracer.startSpan('work')

  failSpan(span, new ThreadlineError('THREADLINE_TIMED_OUT'))
  t.equal(spans.spans().length, 0)
  span.end()

  t.equal(spans.spans()[0]?.attributes['error.type'], 'THREADLINE_TIMED_OUT')
})

t.test('links are kept, and outside of an identity there is no hop', async (t) => {
  const linked = { traceId: 'c'.repeat(32), spanId: 'd'.repeat(16), traceFlags: 1 }

  enterThread(newRun('alice'), () => { withHop('socket.receive', { links: [{ context: linked }] }, () => {}) })
  t.throws(() => { withHop('handler', {}, () => { t.fail('ran') }) }, { code: 'THREADLINE_NO_CONTEXT' })

  t.equal(spans.spans().length, 1)
  t.same(spans.spans()[0]?.links.map(({ context }) => context), [linked])
})
