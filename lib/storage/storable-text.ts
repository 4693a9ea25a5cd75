import { ThreadlineError } from '../errors.ts'

/** The text, if a database can keep it: Postgres has no zero character. Throws `THREADLINE_BAD_REQUEST` that names the field. */
export function storableText<Text extends string | null> (text: Text, field: string): Text {
  if (text?.includes('\0') === true) {
    throw new ThreadlineError('THREADLINE_BAD_REQUEST', `${field} holds a zero character`, { field })
  }
  return text
}

/** What is nearest to the text that a database can keep. For what is told by a model or a tool and cannot be sent back. */
export function nearestStorableText (text: string): string {
  return text.toWellFormed().replaceAll('\0', '\uFFFD')
}
