import { toJson } from './to-json.ts'

/** The last word of a name, in snake, kebab or camel case, that marks its value as a secret. */
const secretNames = /(pass(word|wd|phrase|code)?|token|secret|api[_-]?key|key|authorization|auth|credentials?|cookie|session|signature|private)s?$/i
const harmlessNames = /^(max|min|input|output|total|num|count)[_-]?\w*tokens?$|^(primary|foreign|sort|public)[_-]?key$/i

export const redacted = '[redacted]'

/** The longest text that is shown of one value, in characters. */
export const maxShownCharacters = 500
const maxShownItems = 50

/** A copy of a tool's parameters or result that may be shown: secrets are replaced by their name, long texts and lists are cut. */
export function redact (value: unknown): unknown {
  return show(toJson(value))
}

function show (value: unknown): unknown {
  if (typeof value === 'string') return cut(value)
  if (Array.isArray(value)) {
    const shown = value.slice(0, maxShownItems).map(show)
    return value.length > maxShownItems ? [...shown, `… ${value.length - maxShownItems} more`] : shown
  }
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).slice(0, maxShownItems)
  return Object.fromEntries(entries.map(([name, item]) => [name, isSecretName(name) ? redacted : show(item)]))
}

function isSecretName (name: string): boolean {
  return secretNames.test(name) && !harmlessNames.test(name)
}

function cut (text: string): string {
  if (text.length <= maxShownCharacters) return text
  return `${text.slice(0, maxShownCharacters).toWellFormed()}… (${text.length} characters)`
}
