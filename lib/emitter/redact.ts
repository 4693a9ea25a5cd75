import { toJson } from './to-json.ts'

/** Words that mark a value as a secret wherever they stand in its name, in snake, kebab or camel case. */
const secretWords = /pass(word|wd|phrase|code)|pwd|secret|credential|authorization|cookie|(api|private|access)[^a-z]?key/i
/** Words that do so as the last one. */
const secretEndings = /(token|key|auth|session([^a-z]?id)?|signature|private|bearer|jwt)s?[^a-z]*$/i
/** A number of tokens, or a key that opens nothing. */
const harmlessNames = /^((max|min|total|num|count|input|output|prompt|completion|reasoning|cached)[^a-z]*)+tokens$|^(primary|foreign|sort|public)[^a-z]?keys?$/i

export const redacted = '[redacted]'

/** The longest text that is shown of one value, in characters. */
export const maxShownCharacters = 500
const maxShownItems = 50
/** Values that are shown in all, so that nested lists cannot multiply. */
const maxShownValues = 1_000

/** A copy of a tool's parameters or result that may be shown: what its name tells to be a secret is replaced, long texts and lists are cut. */
export function redact (value: unknown): unknown {
  return show(toJson(value), { left: maxShownValues })
}

function show (value: unknown, room: { left: number }): unknown {
  room.left -= 1
  if (room.left < 0) return '…'
  if (typeof value === 'string') return cut(value)
  if (Array.isArray(value)) {
    const shown = value.slice(0, maxShownItems).map((item) => show(item, room))
    return value.length > maxShownItems ? [...shown, `… ${value.length - maxShownItems} more`] : shown
  }
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).slice(0, maxShownItems)
  return Object.fromEntries(entries.map(([name, item]) => [cut(name), isSecretName(name) ? redacted : show(item, room)]))
}

function isSecretName (name: string): boolean {
  return secretWords.test(name) || (secretEndings.test(name) && !harmlessNames.test(name))
}

function cut (text: string): string {
  if (text.length <= maxShownCharacters) return text
  return `${text.slice(0, maxShownCharacters).toWellFormed()}… (${text.length} characters)`
}
