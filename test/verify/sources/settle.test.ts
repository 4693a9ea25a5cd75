import t from 'tap'
import { settleTraces, type SettleOptions } from '../../../verify/sources/settle.ts'
import type { Span } from '../../../verify/span.ts'
import { makeTrace } from '../../support/made-trace.ts'

const trace = makeTrace()
const part = (count: number): readonly Span[] => trace.slice(0, count)
const options: SettleOptions = { isSettled: () => true, waitMs: 600_000, pollMs: 1 }

async function settle (first: readonly Span[] | undefined, later: readonly (readonly Span[] | undefined)[], given: Partial<SettleOptions>): Promise<{ readonly told: readonly unknown[], readonly asked: number }> {
  let asked = 0
  const traces = settleTraces(new Map([['a', first]]), async () => {
    asked += 1
    return later[Math.min(asked, later.length) - 1]
  }, { ...options, ...given })
  const told = (await Array.fromAsync(traces)).map(([traceId, spans]) => [traceId, spans?.length])
  return { told, asked }
}

t.test('what is settled is told at once', async (t) => {
  t.same(await settle(part(5), [], {}), { told: [['a', 5]], asked: 0 })
})

// kill: in settleTraces, pass over whether a trace has grown.
t.test('what is not is asked for again until it is, and has stopped growing', async (t) => {
  const isSettled = (spans: readonly Span[]): boolean => spans.length >= 8

  t.same(await settle(part(5), [part(6), part(8), part(9), part(9)], { isSettled }), { told: [['a', 9]], asked: 4 })
})

t.test('what is not there yet is waited for, and what was there does not go away', async (t) => {
  t.same(await settle(undefined, [undefined, part(3)], {}), { told: [['a', 3]], asked: 3 })
  t.same(await settle(part(3), [undefined, undefined, part(9)], { isSettled: (spans) => spans.length === 9 }), { told: [['a', 9]], asked: 4 })
})

t.test('when the time is over, it is told as it is', async (t) => {
  t.same(await settle(part(5), [part(6)], { isSettled: () => false, waitMs: 0 }), { told: [['a', 5]], asked: 0 })
  t.same(await settle(undefined, [], { waitMs: 0 }), { told: [['a', undefined]], asked: 0 })
})

t.test('an interruption is the end of waiting', async (t) => {
  const interruption = new AbortController()
  const isSettled = (): boolean => {
    interruption.abort()
    return false
  }

  t.same((await settle(part(5), [], { isSettled, pollMs: 600_000, signal: interruption.signal })).told, [['a', 5]])
})
