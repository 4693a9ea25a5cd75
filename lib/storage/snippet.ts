import type { SearchTerm } from './search-query.ts'

const maxCharacters = 160
const charactersBefore = 40

const letter = String.raw`[\p{L}\p{N}\p{M}]`
/** As in `threadline.apart`: scripts that are written without blanks, where a match may begin and end within a run of letters. */
const unspaced = /[\u0e00-\u109f\u1780-\u17ff\u3041-\u30fa\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]/u

/**
 * Plain text around the first match, in one line of at most about 160 characters, with the matches between « and ». The beginning of the
 * text where nothing matches. `ts_headline` counts words, of which a text may consist of one, and does not know ours.
 */
export function snippetOf (text: string, terms: readonly SearchTerm[]): string {
  const line = text.replaceAll(/\s+/gu, ' ').trim()
  const expression = new RegExp(terms.map(termExpression).join('|'), 'giu')
  const { index, length } = firstMatch(line, expression)
  const start = startBefore(line, index)
  const end = endAfter(line, start, index + length)
  const shown = line.slice(start, end).replaceAll(expression, '«$&»')
  return `${start > 0 ? '…' : ''}${shown}${end < line.length ? '…' : ''}`
}

function firstMatch (line: string, expression: RegExp): { index: number, length: number } {
  const match = new RegExp(expression, 'iu').exec(line)
  return { index: match?.index ?? 0, length: match?.[0].length ?? 0 }
}

// At a blank, where there is one; never within a pair of surrogates.
function startBefore (line: string, index: number): number {
  const earliest = index - charactersBefore
  if (earliest <= 0) return 0
  const blank = line.indexOf(' ', earliest)
  return blank >= 0 && blank < index ? blank + 1 : wholeCharacter(line, earliest)
}

function endAfter (line: string, start: number, matchEnd: number): number {
  const latest = start + maxCharacters
  if (latest >= line.length) return line.length
  const blank = line.lastIndexOf(' ', latest)
  return blank >= matchEnd && blank > start ? blank : wholeCharacter(line, latest)
}

function wholeCharacter (line: string, index: number): number {
  return /[\uDC00-\uDFFF]/.test(line.charAt(index)) ? index - 1 : index
}

function termExpression ({ words, open }: SearchTerm): string {
  const [first = '', last = ''] = [words[0], words.at(-1)]
  const before = unspaced.test(first.charAt(0)) ? '' : `(?<!${letter})`
  const after = unspaced.test(last.charAt(last.length - 1)) ? '' : open ? `${letter}*` : `(?!${letter})`
  return before + words.join(`(?!${letter})[^\\p{L}\\p{N}\\p{M}]+`) + after
}
