import { randomBytes } from 'node:crypto'

const expression = /marker-[0-9a-f]{32}/g

/** A word that no two messages share, so that wherever it turns up it tells whose message it was. */
export function newMarker (): string {
  return `marker-${randomBytes(16).toString('hex')}`
}

/** Everything in a text that has the shape of a marker. */
export function markersIn (text: string): readonly string[] {
  return text.match(expression) ?? []
}
