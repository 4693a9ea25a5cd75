import t from 'tap'
import { mapAcceptance } from '../scripts/acceptance-map.ts'

t.test('docs/acceptance.md names the tests that there are', async (t) => {
  const { current, mapped } = await mapAcceptance()

  t.equal(current, mapped, 'run `node scripts/acceptance-map.ts`')
})

t.test('every case is proved by a test', async (t) => {
  const { unproved } = await mapAcceptance()

  t.same(unproved, [])
})
