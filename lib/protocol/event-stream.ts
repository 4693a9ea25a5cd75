import { Type, type Static } from 'typebox'
import { closeCodes } from './close-codes.ts'

/**
 * The same events as over a socket, as server-sent events (HTML Living Standard, section 9.2). `event:` is the event's type, `data:` the
 * event as JSON, and `id:` the place in the thread's log from which a reader that has seen it goes on: `<epoch>:<sequence>`. An event
 * that says nothing of a place has no `id:`, and the reader keeps the last one. A comment tells that the stream lives.
 */

/** What a reader has seen of a thread: everything up to the sequence `after` of this epoch. */
interface Place { readonly after: number, readonly epoch: string }

/** Of the header `Last-Event-ID`; empty when the reader has seen nothing. */
export const eventIdPattern = '^$|^[!-~]{1,64}:[0-9]{1,15}$'

const expression = /^([!-~]{1,64}):([0-9]{1,15})$/

export function toEventId ({ after, epoch }: Place): string {
  return `${epoch}:${after}`
}

/** Undefined when the text is not the id of an event. */
export function parseEventId (text: string): Place | undefined {
  const [, epoch, after] = expression.exec(text) ?? []
  return epoch === undefined || after === undefined ? undefined : { epoch, after: Number(after) }
}

/** The data of the event `close`, the last one of a stream that is ended before its reader leaves. Code and reason are those of a socket. */
export const StreamClose = Type.Object({
  code: Type.Integer({ enum: Object.values(closeCodes) }),
  reason: Type.String({ enum: Object.keys(closeCodes) })
}, { description: 'Why the server ends the stream, in the words in which it closes a socket' })
export type StreamClose = Static<typeof StreamClose>
