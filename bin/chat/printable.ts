/** Everything but line breaks and tabs that could move the cursor, recolour the screen or turn the direction of writing. */
const unprintable = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g

/** Text of others, made safe to print: an agent's answer must not be able to draw what looks like another user's line. */
export function printable (text: string): string {
  return text.replace(unprintable, '')
}

/** The same in one line, cut to `maxCharacters`. */
export function oneLine (text: string, maxCharacters = 200): string {
  const line = printable(text.slice(0, maxCharacters * 4)).replace(/\s+/g, ' ').trim()
  const characters = Array.from(line)
  return characters.length <= maxCharacters ? line : `${characters.slice(0, maxCharacters - 1).join('')}…`
}

/** The end of an id. Its beginning is a time (UUIDv7), and alike in all that is made at the same moment. */
export function shortId (id: string): string {
  return printable(id.slice(-6))
}

/** How many columns a terminal takes for it; East Asian wide characters and pictures take two. */
export function textWidth (text: string): number {
  let width = 0
  for (const character of text) width += characterWidth(character)
  return width
}

const wide = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u
const none = /\p{Mn}|\p{Me}|\p{Cf}/u

export function characterWidth (character: string): number {
  if (character < '\u0300') return 1
  if (none.test(character)) return 0
  return wide.test(character) || character > '\u{1ffff}' ? 2 : 1
}
