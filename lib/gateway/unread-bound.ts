/**
 * Bounds what a client has not read, its largest frame not counted: one answer may be larger than the bound, which says nothing of the
 * client.
 */
export class UnreadBound {
  readonly #maxBytes: number
  /** Bytes of the largest frame since nothing was waiting. */
  #largest = 0

  constructor (maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Whether a frame of so many bytes can be written while others wait to be read. */
  admits (bytes: number, waitingBytes: number): boolean {
    this.#largest = Math.max(waitingBytes === 0 ? 0 : this.#largest, bytes)
    return waitingBytes + bytes - this.#largest <= this.#maxBytes
  }
}
