import { trace } from '@opentelemetry/api'
import t from 'tap'
import { childRequest } from '../../lib/context/child-request.ts'
import { currentRun } from '../../lib/context/current-thread.ts'
import { withHop } from '../../lib/context/hop.ts'
import { inRun, newRun } from '../support/identities.ts'
import { collectSpans } from '../support/spans.ts'

collectSpans()

t.test('C33 what runs as a child request sees the same user, thread and run under a request of its own', async (t) => {
  const alice = newRun('alice')

  await inRun(alice, async () => {
    const child = await childRequest('search', async () => { await Promise.resolve(); return currentRun() })

    t.match(child, { userId: 'alice', threadId: alice.threadId, runId: alice.runId, depth: 1 })
    t.equal(child.parentRequestId, alice.requestId)
    t.equal(currentRun(), alice)
  })
})

t.test('C33 a child request stays in the trace and below the span of its parent', async (t) => {
  await inRun(newRun('alice'), async () => {
    withHop('engine', {}, (span) => { t.equal(childRequest('search', () => trace.getActiveSpan()), span) })
  })
})

t.test('C34 child requests inside each other go ten deep', async (t) => {
  const nest = async (levels: number): Promise<number> => {
    if (levels === 0) return currentRun().depth
    return await childRequest(`level ${levels}`, async () => await nest(levels - 1))
  }

  await inRun(newRun('alice'), async () => {
    t.equal(await nest(10), 10)
    await t.rejects(nest(11), { code: 'THREADLINE_CONTEXT_TOO_DEEP' })
    t.equal(currentRun().depth, 0)
  })
})

t.test('C35 what a child request was given is not there for its siblings', async (t) => {
  await inRun(newRun('alice'), async () => {
    const seen = await Promise.all([
      childRequest('one', async () => { await Promise.resolve(); return currentRun().data }, { only: 'one' }),
      childRequest('two', async () => { await Promise.resolve(); return currentRun().data })
    ])

    t.same(seen, [{ only: 'one' }, {}])
    t.same(currentRun().data, {})
  })
})

t.test('J123 outside of an identity there are no child requests', async (t) => {
  t.throws(() => { childRequest('search', () => { t.fail('ran') }) }, { code: 'THREADLINE_NO_CONTEXT' })
})
