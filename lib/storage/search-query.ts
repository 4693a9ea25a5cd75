/** Words that stand one behind the other, as somebody looks for them. */
export interface SearchTerm {
  readonly words: readonly string[]
  /** The last word may go on. */
  readonly open: boolean
}

export interface SearchQuery {
  /** For `websearch_to_tsquery`: each operand in quotes, and nothing between words that the search does not know. */
  readonly websearch: string
  /** The last word may go on: so one can search while typing. */
  readonly open: boolean
  /** What a match has, without what it must not have. */
  readonly terms: readonly SearchTerm[]
}

interface Operand extends SearchTerm {
  readonly excluded: boolean
  readonly or: boolean
}

const wordExpression = /[\p{L}\p{N}\p{M}]+/gu
const tokenExpression = /(?<minus>-?)"(?<quoted>[^"]*)(?<end>"?)|(?<plain>[^\s"]+)/gu

/**
 * Reads a query as people write it: words, "phrases", `-` before what must not be there, `or` between alternatives. What else stands
 * between words only parts them, so `lib/storage.ts` looks for three words in a row. Undefined when nothing is left to look for.
 */
export function parseSearchQuery (text: string): SearchQuery | undefined {
  const tokens = [...text.matchAll(tokenExpression)].map(([, minus, quoted, end, plain]) => {
    return quoted === undefined ? readPlain(plain ?? '') : readOperand(quoted, minus === '-', end === '')
  })
  const operands = tokens.filter(({ words }) => words.length > 0)
  const last = operands.at(-1)
  if (last === undefined || operands.every(({ excluded }) => excluded)) return undefined

  const open = last.open && !last.excluded && /[\p{L}\p{N}\p{M}]$/u.test(text)
  const isOr = operands.map(({ or }, index) => or && index > 0 && index < operands.length - 1)
  const alternatives = isOr.map((or, index) => or && isOr[index - 1] !== true)
  return {
    websearch: operands.map((operand, index) => alternatives[index] === true ? 'or' : quote(operand)).join(' '),
    open,
    terms: operands.filter((operand, index) => !operand.excluded && alternatives[index] !== true)
      .map((operand) => ({ words: operand.words, open: open && operand === last }))
  }
}

function readPlain (text: string): Operand {
  const excluded = text.startsWith('-')
  return { ...readOperand(text, excluded, true), or: text.toLowerCase() === 'or' }
}

function readOperand (text: string, excluded: boolean, open: boolean): Operand {
  return { words: text.match(wordExpression) ?? [], excluded, open, or: false }
}

const quote = ({ words, excluded }: Operand): string => `${excluded ? '-' : ''}"${words.join(' ')}"`
