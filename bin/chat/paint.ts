import { styleText } from 'node:util'

export type Style = Parameters<typeof styleText>[0]
export type Paint = (style: Style, text: string) => string

/** Colours for what is written to `stream`: none where it is not a terminal, or `NO_COLOR` is set. */
export function createPaint (stream: NodeJS.WriteStream): Paint {
  return (style, text) => styleText(style, text, { stream })
}

const colours = ['cyan', 'magenta', 'yellow', 'green', 'blue', 'cyanBright', 'magentaBright', 'yellowBright'] as const

/** The same colour for the same id, in every window: what belongs together is seen at a glance. */
export function colourOf (id: string): Style {
  let sum = 0
  for (const character of id) sum = (sum * 31 + (character.codePointAt(0) ?? 0)) >>> 0
  return colours[sum % colours.length] ?? 'cyan'
}
