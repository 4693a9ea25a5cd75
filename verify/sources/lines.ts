const newline = 0x0a

export interface Line {
  /** From 1. */
  readonly number: number
  /** Undefined for one that is longer than the limit. */
  readonly text: string | undefined
}

/** The lines of UTF-8 text, whatever its pieces are. Of a line that is longer than `maxBytes`, nothing is kept. */
export async function * readLines (pieces: AsyncIterable<Buffer>, maxBytes: number): AsyncGenerator<Line, void> {
  let number = 1
  let begun: Buffer[] = []
  let length = 0

  function finish (end: Buffer): Line {
    const isTooLong = length + end.length > maxBytes
    const line = { number, text: isTooLong ? undefined : (begun.length === 0 ? end : Buffer.concat([...begun, end])).toString() }
    number += 1
    begun = []
    length = 0
    return line
  }

  for await (const piece of pieces) {
    let start = 0
    for (let end = piece.indexOf(newline); end !== -1; end = piece.indexOf(newline, start)) {
      yield finish(piece.subarray(start, end))
      start = end + 1
    }
    if (start === piece.length) continue
    length += piece.length - start
    if (length > maxBytes) begun = []
    else begun.push(piece.subarray(start))
  }
  if (length > 0) yield finish(Buffer.alloc(0))
}
