import { styleText } from 'node:util'

export type Paint = (style: Parameters<typeof styleText>[0], text: string) => string

/** No colours at all. */
export const plain: Paint = (_style, text) => text

/** Colours for what is written to `stream`: none where it is not a terminal, or `NO_COLOR` is set. */
export function createPaint (stream: NodeJS.WriteStream): Paint {
  return (style, text) => styleText(style, text, { stream })
}
