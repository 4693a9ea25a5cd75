import t from 'tap'
import { openStage } from '../../testing/stage.ts'
import { watchCanary } from '../support/watch-canary.ts'

t.test('the traces of canaries are those of ordinary messages, and the verifier finds nothing in them', async (t) => {
  const canary = watchCanary(t)
  const stage = await openStage({ env: { THREADLINE_CANARY: 'on', THREADLINE_CANARY_INTERVAL_MS: 3_600_000 } })
  t.teardown(() => stage.close())
  if (canary.rounds.length === 0) await canary.next()

  const report = await stage.verify()

  t.same(report.findings, [])
  t.equal(report.verdict, 'clean')
  t.ok(report.traces.checked >= 18)
})
