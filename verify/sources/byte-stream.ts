/** Bytes that come piece by piece, read by length. */
export interface ByteStream {
  /** Up to `length` bytes that come next, without taking them; less only at the end. */
  peek (length: number): Promise<Buffer>
  /** The same, taken. */
  take (length: number): Promise<Buffer>
  /** All that is left, in the pieces in which it comes. */
  pieces (): AsyncGenerator<Buffer, void>
}

/** Reads from `source` no further than asked. */
export function createByteStream (source: AsyncIterable<Uint8Array>): ByteStream {
  const iterator = source[Symbol.asyncIterator]()
  let waiting: Buffer[] = []
  let available = 0

  async function fill (length: number): Promise<void> {
    while (available < length) {
      const next = await iterator.next()
      if (next.done === true) return
      waiting.push(toBuffer(next.value))
      available += next.value.length
    }
  }

  function joined (): Buffer {
    const [first = Buffer.alloc(0)] = waiting
    if (waiting.length === 1) return first
    const all = Buffer.concat(waiting)
    waiting = [all]
    return all
  }

  return {
    async peek (length) {
      await fill(length)
      return joined().subarray(0, length)
    },
    async take (length) {
      await fill(length)
      const all = joined()
      const taken = all.subarray(0, length)
      waiting = [all.subarray(taken.length)]
      available -= taken.length
      return taken
    },
    async * pieces () {
      try {
        yield * waiting
        waiting = []
        for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) yield toBuffer(next.value)
      } finally {
        await iterator.return?.()
      }
    }
  }
}

function toBuffer (bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
}
