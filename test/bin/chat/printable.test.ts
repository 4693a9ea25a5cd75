import t from 'tap'
import { oneLine, shortId, textWidth } from '../../../bin/chat/printable.ts'
import { uuid } from '../../support/scripted-server.ts'

t.test('a line is cut at whole characters and says so', async (t) => {
  t.equal(oneLine('short', 5), 'short')
  t.equal(oneLine('longer', 5), 'long…')
  t.equal(oneLine('👋👋👋', 2), '👋…')
  t.equal(oneLine(' a\n\tb '), 'a b')
})

t.test('an id is known by its end', async (t) => {
  t.equal(shortId(uuid(0x1234567)), '234567')
})

t.test('a width is counted in columns', async (t) => {
  t.equal(textWidth('abc'), 3)
  t.equal(textWidth('日本'), 4)
  t.equal(textWidth('é'), 1, 'a combining accent has no width of its own')
  t.equal(textWidth('👋'), 2)
  t.equal(textWidth('→│■'), 3)
})
