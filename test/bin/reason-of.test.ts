import t from 'tap'
import { placeOf, reasonOf } from '../../bin/doctor/reason-of.ts'

t.test('neither a reason nor a place holds the password of an address', async (t) => {
  // kill: let `withoutLogins` of bin/doctor/reason-of.ts give back the text
  const address = 'https://somebody:not-for-a-terminal@127.0.0.1:1/keys'
  const refused: unknown = await fetch(address).catch((error: unknown) => error)

  t.match(reasonOf(refused), 'https://127.0.0.1:1/keys')
  t.notMatch(reasonOf(refused), 'not-for-a-terminal')
  t.equal(placeOf(address), '127.0.0.1:1/keys')
})
