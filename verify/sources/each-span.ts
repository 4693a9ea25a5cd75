import type { Span } from '../span.ts'

/** One by one what comes in pieces. */
export async function * eachSpan (pieces: AsyncIterable<readonly Span[]>): AsyncGenerator<Span, void> {
  for await (const piece of pieces) yield * piece
}
