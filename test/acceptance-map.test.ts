import t from 'tap'
import { mapAcceptance } from '../scripts/acceptance-map.ts'

/** Cases of features that later work brings; a case is taken off this list with its feature. */
const later = /^J125$/

t.test('docs/acceptance.md names the tests that there are', async (t) => {
  const { current, mapped } = await mapAcceptance()

  t.equal(current, mapped, 'run `node scripts/acceptance-map.ts`')
})

t.test('every case of what exists is proved by a test', async (t) => {
  const { unproved } = await mapAcceptance()

  t.same(unproved.filter((id) => !later.test(id)), [])
})
