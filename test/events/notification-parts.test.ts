import fc from 'fast-check'
import t from 'tap'
import { cutIntoNotifications, NotificationParts } from '../../lib/events/notification-parts.ts'

t.test('whatever a text is, its parts fit and make it again, in any order and among those of others', async (t) => {
  const texts = fc.array(fc.string({ unit: 'grapheme', maxLength: 9_000 }), { minLength: 1, maxLength: 4 })

  fc.assert(fc.property(texts, fc.infiniteStream(fc.nat()), (all, chance) => {
    const parts = all.flatMap((text, index) => cutIntoNotifications(text, `node.${index}`)).map((part) => [chance.next().value, part] as const)
    const taken = new NotificationParts()
    const made = parts.toSorted(([one], [other]) => one - other).map(([, part]) => taken.take(part)).filter((text) => text !== undefined)
    return parts.every(([, part]) => Buffer.byteLength(part) < 8_000) && made.toSorted().join('|') === all.toSorted().join('|')
  }), { numRuns: 60 })
  t.pass()
})

t.test('a part that comes twice, that is none, or that does not fit the others makes nothing', async (t) => {
  const parts = cutIntoNotifications('x'.repeat(20_000), 'node.1')
  const taken = new NotificationParts()
  const [first = '', second = '', third = ''] = parts

  t.equal(parts.length, 3)
  for (const text of [first, first, 'node.1 3 3 beyond', 'node.1 1 2 of another count', 'node.1 1 999 too many', '', 'nonsense', `${'n'.repeat(200)} 0 1 x`]) t.equal(taken.take(text), undefined)
  t.equal(taken.take(third), undefined)
  t.equal(taken.take(second), 'x'.repeat(20_000))
})

// kill: the loop over what is open in #openOf.
t.test('of texts that are never ended the oldest are let go', async (t) => {
  const taken = new NotificationParts()
  const [first = '', second = '', third = ''] = cutIntoNotifications('x'.repeat(20_000), 'oldest.1')

  taken.take(first)
  for (let index = 0; index < 32; index += 1) taken.take(`other.${index} 0 2 begun`)
  taken.take(second)

  t.equal(taken.take(third), undefined)
})
