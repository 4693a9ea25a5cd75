import t from 'tap'
import { IdentityBaggage } from '../../lib/context/identity-baggage.ts'

const ids = { 'user.id': 'alice', 'gen_ai.conversation.id': 'a thread' }
const entries = [['user.id', { value: 'alice' }], ['gen_ai.conversation.id', { value: 'a thread' }]]

t.test('entries are made when they are first asked for, and once', async (t) => {
  let made = 0
  const baggage = new IdentityBaggage(() => { made += 1; return ids })
  const before = made

  const all = baggage.getAllEntries()
  const one = baggage.getEntry('user.id')
  const none = baggage.getEntry('tenant')

  t.equal(before, 0)
  t.equal(made, 1)
  t.same(all, entries)
  t.same(one, { value: 'alice' })
  t.equal(none, undefined)
})

t.test('a change makes another baggage and leaves this one as it is', async (t) => {
  const baggage = new IdentityBaggage(() => ids)

  const added = baggage.setEntry('tenant', { value: 'acme' })
  const replaced = baggage.setEntry('user.id', { value: 'bob' })
  const removed = baggage.removeEntry('user.id')
  const emptied = baggage.removeEntries('user.id', 'gen_ai.conversation.id')
  const cleared = baggage.clear()

  t.same(added.getEntry('tenant'), { value: 'acme' })
  t.same(replaced.getEntry('user.id'), { value: 'bob' })
  t.same(removed.getAllEntries(), entries.slice(1))
  t.same(emptied.getAllEntries(), [])
  t.same(cleared.getAllEntries(), [])
  t.same(baggage.getAllEntries(), entries)
})
