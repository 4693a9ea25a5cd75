import { context, trace, TraceFlags, type SpanContext } from '@opentelemetry/api'
import fc from 'fast-check'
import t from 'tap'
import { activeTraceparent, parseTraceparent } from '../../lib/context/traceparent.ts'
import '../../lib/context/current-thread.ts' // registers the context manager
import { anyText } from '../support/arbitraries.ts'

const traceId = '0af7651916cd43dd8448eb211c80319c'
const spanId = 'b7ad6b7169203331'
const within = <T>(spanContext: SpanContext, fn: () => T): T => context.with(trace.setSpanContext(context.active(), spanContext), fn)

t.test('text of W3C Trace Context names a remote span', async (t) => {
  t.strictSame(parseTraceparent(`00-${traceId}-${spanId}-01`), { traceId, spanId, traceFlags: TraceFlags.SAMPLED, isRemote: true })
  t.strictSame(parseTraceparent(`00-${traceId}-${spanId}-00`)?.traceFlags, TraceFlags.NONE)
  t.strictSame(parseTraceparent(`00-${traceId}-${spanId}-ff`)?.traceFlags, TraceFlags.SAMPLED, 'unknown flags are dropped')
})

t.test('anything else names nothing', async (t) => {
  const good = `00-${traceId}-${spanId}-01`
  const hostile = [
    undefined, null, '', ' ', '00', good.slice(1), good.slice(0, -1), `${good}0`, `${good}-00`, ` ${good}`, `${good} `, `${good}\n`, `\n${good}`,
    good.toUpperCase(), good.replaceAll('-', '_'), good.replace('00-', 'ff-'), good.replace('00-', '01-'), `${good}\u0000`, `${good},${good}`,
    `00-${'0'.repeat(32)}-${spanId}-01`, `00-${traceId}-${'0'.repeat(16)}-01`, `00-${traceId.slice(1)}g-${spanId}-01`,
    `00-${traceId}-${spanId}-0x`, `00-${'١'.repeat(32)}-${spanId}-01`, good.repeat(10_000)
  ]

  for (const text of hostile) t.equal(parseTraceparent(text), undefined, JSON.stringify(text)?.slice(0, 80))
})

t.test('no text makes it throw', async (t) => {
  const pieces = fc.array(fc.constantFrom('0', '00', '-', 'f', 'A', traceId, spanId, '\n', ' ', '\u0000'), { maxLength: 8 })

  fc.assert(fc.property(fc.oneof(anyText(), pieces.map((all) => all.join(''))), (text) => {
    const parsed = parseTraceparent(text)
    return parsed === undefined || text.startsWith(`00-${parsed.traceId}-${parsed.spanId}-`)
  }))
  t.pass()
})

t.test('the active span is read back as it was written', async (t) => {
  const hex = (length: number) => fc.string({ unit: fc.nat(15).map((digit) => digit.toString(16)), minLength: length, maxLength: length })

  fc.assert(fc.property(hex(32), hex(16), fc.boolean(), (someTrace, someSpan, sampled) => {
    fc.pre(!/^0+$/.test(someTrace) && !/^0+$/.test(someSpan))
    const spanContext = { traceId: someTrace, spanId: someSpan, traceFlags: sampled ? 1 : 0 }
    const text = within(spanContext, activeTraceparent)
    const read = parseTraceparent(text)
    return text?.length === 55 && read?.traceId === someTrace && read.spanId === someSpan && read.traceFlags === spanContext.traceFlags
  }))
  t.pass()
})

t.test('without a valid active span there is no text', async (t) => {
  t.equal(activeTraceparent(), undefined)
  t.equal(within({ traceId: '0'.repeat(32), spanId, traceFlags: 1 }, activeTraceparent), undefined)
})
