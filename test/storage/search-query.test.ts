import t from 'tap'
import { parseSearchQuery } from '../../lib/storage/search-query.ts'

const websearch = (text: string): string | undefined => parseSearchQuery(text)?.websearch

t.test('words, phrases, exclusions and alternatives become a query for websearch_to_tsquery', async (t) => {
  t.equal(websearch('otter'), '"otter"')
  t.equal(websearch('  sea   otter '), '"sea" "otter"')
  t.equal(websearch('"sea otter" -whale'), '"sea otter" -"whale"')
  t.equal(websearch('-"killer whale" sea'), '-"killer whale" "sea"')
  t.equal(websearch('otter or Whale OR seal'), '"otter" or "Whale" or "seal"')
  t.equal(websearch('"sea otter'), '"sea otter"')
})

t.test('what stands between words only parts them', async (t) => {
  t.equal(websearch('lib/storage.ts'), '"lib storage ts"')
  t.equal(websearch('e-mail --- (otter!)'), '"e mail" "otter"')
  t.equal(websearch('\'); drop table x; -- & | ! <-> :*'), '"drop" "table" "x"')
  t.equal(websearch('<b>Привет</b>, 世界!'), '"b Привет b" "世界"')
})

t.test('or that has nothing to stand between is a word', async (t) => {
  t.equal(websearch('or'), '"or"')
  t.equal(websearch('otter or'), '"otter" "or"')
  t.equal(websearch('or otter'), '"or" "otter"')
  t.equal(websearch('otter or or whale'), '"otter" or "or" "whale"')
  t.equal(websearch('otter "or" whale'), '"otter" "or" "whale"')
})

t.test('without a word to look for there is no query', async (t) => {
  for (const text of ['', ' ', '"', '""', '-', '...', '🦦', '-otter', '-"sea otter" -whale', '\u0301'.repeat(0)]) t.equal(parseSearchQuery(text), undefined, text)
})

t.test('the last word may go on, unless something shows that it is finished', async (t) => {
  const open = (text: string) => parseSearchQuery(text)?.open

  for (const text of ['ott', 'sea ott', 'sea or ott', '"sea ott', 'lib/stor']) t.equal(open(text), true, text)
  for (const text of ['otter ', 'otter.', '"sea otter"', 'sea -ott']) t.equal(open(text), false, text)
})

t.test('what is shown as a match is what was looked for', async (t) => {
  t.same(parseSearchQuery('"sea otter" or whale -shark')?.terms, [{ words: ['sea', 'otter'], open: false }, { words: ['whale'], open: false }])
  t.same(parseSearchQuery('sea ott')?.terms, [{ words: ['sea'], open: false }, { words: ['ott'], open: true }])
})
