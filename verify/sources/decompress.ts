import { Readable, type Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createZstdDecompress } from 'node:zlib'

/** Whoever stops reading it, or an error of either side, ends both. */
export function gunzip (pieces: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  const output: Transform = createGunzip()
  // The error comes to whoever reads the output, too.
  pipeline(Readable.from(pieces), output).catch(() => {})
  return output
}

/**
 * All frames, one after the other (RFC 8878, section 3.1): a file that is appended to, or flushed, has many. Node's stream ends with the first of
 * a piece and passes over the rest in silence, so what it has not taken is given to another one.
 */
export async function * unzstd (pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void> {
  const source = pieces[Symbol.asyncIterator]()
  let left: Buffer | undefined
  try {
    for (left = await next(source); left !== undefined; left ??= await next(source)) {
      const frame = createZstdDecompress()
      const feeding = feed(frame, left, source).then((rest) => { left = rest })
      // The error comes to whoever reads the frame, too.
      feeding.catch(() => {})
      yield * frame as AsyncIterable<Buffer> // without an encoding
      await feeding
    }
  } finally {
    await source.return?.()
  }
}

/** Writes until the frame takes no more, and ends it. Resolves with what it has not taken; undefined at the end of the source. */
async function feed (frame: ReturnType<typeof createZstdDecompress>, first: Buffer, source: AsyncIterator<Buffer>): Promise<Buffer | undefined> {
  try {
    for (let piece: Buffer | undefined = first; piece !== undefined; piece = await next(source)) {
      const before = frame.bytesWritten
      await write(frame, piece)
      const rest: Buffer = piece.subarray(frame.bytesWritten - before)
      if (rest.length === piece.length && rest.length > 0) throw new Error('its compressed data is damaged')
      if (rest.length > 0) return rest
    }
    return undefined
  } catch (error) {
    frame.destroy(error instanceof Error ? error : new Error(String(error)))
    throw error
  } finally {
    frame.end()
  }
}

async function write (stream: Transform, piece: Buffer): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    stream.write(piece, (error) => { if (error === null || error === undefined) resolve(); else reject(error) })
  })
}

async function next (source: AsyncIterator<Buffer>): Promise<Buffer | undefined> {
  for (;;) {
    const { done, value } = await source.next()
    if (done === true) return undefined
    if (value.length > 0) return value
  }
}
