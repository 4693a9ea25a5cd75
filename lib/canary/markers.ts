import { randomBytes } from 'node:crypto'

/** What every marker begins with, so that a text without any is passed over cheaply. One word for a search. */
const markerPrefix = 'threadlinecanary'
const markerExpression = new RegExp(`${markerPrefix}[0-9a-f]{32}`, 'g')

/** A word that nobody can know who was not told it: 128 random bits. */
export function newMarker (): string {
  return `${markerPrefix}${randomBytes(16).toString('hex')}`
}

/** What looks like a marker in a text, each once. Nothing says that it was made here: a user can write what one looks like. */
export function markersIn (text: string): ReadonlySet<string> {
  if (!text.includes(markerPrefix)) return none
  return new Set(text.match(markerExpression))
}

const none: ReadonlySet<string> = new Set()
