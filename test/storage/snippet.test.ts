import fc from 'fast-check'
import t from 'tap'
import { parseSearchQuery } from '../../lib/storage/search-query.ts'
import { snippetOf } from '../../lib/storage/snippet.ts'
import { anyText } from '../support/arbitraries.ts'

const snippet = (text: string, query: string): string => snippetOf(text, parseSearchQuery(query)?.terms ?? [])
const filler = 'many words that say nothing '.repeat(20)

t.test('the words that match stand between « and »', async (t) => {
  t.equal(snippet('The sea otter dives.', 'otter '), 'The sea «otter» dives.')
  t.equal(snippet('The Otter, the OTTER and the otters', 'otter '), 'The «Otter», the «OTTER» and the otters')
  t.equal(snippet('The otters', 'ott'), 'The «otters»')
  t.equal(snippet('see lib/storage/storage.ts, or storage', 'storage.ts '), 'see lib/storage/«storage.ts», or storage')
  t.equal(snippet('我喜欢猫。', '喜欢'), '我«喜欢»猫。')
  t.equal(snippet('Žluťoučký KŮŇ', 'kůň '), 'Žluťoučký «KŮŇ»')
})

t.test('a long text is cut around the first match, between words', async (t) => {
  const text = `${filler}the otter dives ${filler}`

  const shown = snippet(text, 'otter ')

  t.match(shown, /^…[a-z].* the «otter» dives .*[a-z]…$/)
  t.ok(text.includes(shown.replaceAll(/[…«»]/g, '')))
  t.ok(shown.length <= 164)
})

t.test('a text in which nothing is found is shown from its beginning', async (t) => {
  const shown = snippet(filler, 'otter ')

  t.ok(filler.startsWith(shown.replace('…', '')))
  t.ok(shown.length <= 161)
})

t.test('it is one line', async (t) => {
  t.equal(snippet('  The\n\totter \r\n\n dives ', 'otter '), 'The «otter» dives')
})

t.test('one giant word is cut, and never within a character', async (t) => {
  for (const text of ['x'.repeat(32_000), '\u{1f9a6}'.repeat(16_000), `a${'\u{1f9a6}'.repeat(16_000)}`, `${'\u{1f9a6}'.repeat(999)}otter${'\u{1f9a6}'.repeat(999)}`]) {
    const shown = snippet(text, 'otter ')
    t.ok(shown.isWellFormed())
    t.ok(shown.length <= 164)
  }
})

t.test('whatever the text and the query, a snippet is short, and a piece of the text', async () => {
  fc.assert(fc.property(anyText(600), fc.stringMatching(/^[a-zé我 "-]{1,12}$/u), (text, query) => {
    const shown = snippet(text, query)
    const bare = shown.replaceAll(/[«»…]/g, '')
    return bare.length <= 160 && text.replaceAll(/\s+/gu, ' ').replaceAll(/[«»…]/g, '').includes(bare)
  }))
})
