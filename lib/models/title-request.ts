import type { ModelMessage } from 'ai'

/** What a thread's title is made of. */
export interface Exchange {
  readonly message: string
  readonly answer: string
}

/** By these words the local model knows that it is asked for a title. */
export const titleInstructions =
  'You name conversations. Reply with a title of at most six words for the conversation, in its language: no quotes, no full stop, nothing else.'

const maxMessageCharacters = 1_400
const maxAnswerCharacters = 600
const maxTitleCharacters = 80
const maxReadCharacters = 1_000

/** Quotes, marks of Markdown, and characters that turn the direction of the text around a title (Unicode Technical Report 36, section 2.8). */
const unwanted = /["“”„‟«»`\u202A-\u202E\u2066-\u2069\uFEFF]|\*\*|__/g

/** The request for a title, as a model gets it: the exchange, cut to what a title needs. */
export function titleRequest ({ message, answer }: Exchange): { instructions: string, messages: ModelMessage[] } {
  return {
    instructions: titleInstructions,
    messages: [
      { role: 'user', content: cut(message, maxMessageCharacters) },
      { role: 'assistant', content: cut(answer, maxAnswerCharacters) },
      { role: 'user', content: 'The title of this conversation:' }
    ]
  }
}

/** The title in what a model has answered: one line of at most 80 characters without quotes; empty when there is none. */
export function readTitle (text: string): string {
  const line = cut(text, maxReadCharacters).replace(/[\p{Cc}\p{Z}]+/gu, ' ').replace(unwanted, '').trim()
  const bare = line.replace(/^title\s*:/i, '').replace(/^[\s#*'‘’‚_]+|[\s*'‘’_.]+$/g, '')
  if (bare.length <= maxTitleCharacters) return bare
  return `${bare.slice(0, maxTitleCharacters - 1).replace(/\s+\S*$|[\uD800-\uDBFF]$/, '')}…`
}

/** Half of an emoji is no text that a provider takes. */
function cut (text: string, maxCharacters: number): string {
  return text.slice(0, maxCharacters).toWellFormed()
}
