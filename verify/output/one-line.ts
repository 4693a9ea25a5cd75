/** Line breaks, and everything that could move the cursor, recolour the screen or turn the direction of writing. */
const unprintable = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+/g

/** What a span says, made safe to print in a line of its own: it may come from anywhere. */
export function oneLine (text: string, maxCharacters = 200): string {
  const line = text.slice(0, maxCharacters * 4).replace(unprintable, ' ').trim()
  const characters = Array.from(line)
  return characters.length <= maxCharacters ? line : `${characters.slice(0, maxCharacters - 1).join('')}…`
}

/** The end of a long id: its beginning is a time (UUIDv7), and alike in all that is made at the same moment. */
export function shortId (id: string): string {
  const line = oneLine(id)
  return line.length <= 12 ? line : `…${line.slice(-6)}`
}
