import t from 'tap'
import { findStray, newMarker } from '../../testing/markers.ts'
import { openStage } from '../../testing/stage.ts'

t.test('a stage is a whole server with users who talk to it', async (t) => {
  const stage = await openStage()
  t.teardown(async () => { await stage.close() })
  const [alice, bob] = await Promise.all([stage.enter('alice'), stage.enter('bob')])
  const second = await stage.enter('alice', { threadId: alice.threadId })
  const markers = { alice: newMarker('alice'), bob: newMarker('bob') }

  const [told] = await Promise.all([
    alice.say(`hello ${markers.alice}`, { agent: 'echo' }), bob.say(`hello ${markers.bob}`, { agent: 'echo' })
  ])
  const stray = await findStray(stage.url, [
    { user: alice, marker: markers.alice }, { user: second, marker: markers.alice }, { user: bob, marker: markers.bob }
  ])

  t.equal(told.payload.status, 'completed')
  t.match(told.payload.content, markers.alice)
  t.equal(second.received.filter(({ type }) => type === 'agent_completed').length, 1, 'each tab is told')
  t.same(stray, [])
  t.same(stage.violations, [])
  const { verdict, traces, findings, incomplete } = await stage.verify()
  t.same({ verdict, findings, incomplete }, { verdict: 'clean', findings: [], incomplete: [] })
  t.ok(traces.checked >= 2, 'a trace for each message at least')
  t.same(stage.log.filter((line) => !line.includes('Development mode')), [])
})
