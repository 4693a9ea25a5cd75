import type { WebSocket } from 'ws'
import { closeCodes, type CloseReason } from '../protocol/close-codes.ts'

/** What became of a frame: `dead` when the socket is not open any more, `overflow` when the client reads too slowly. */
export type Sent = 'sent' | 'dead' | 'overflow'

/**
 * The way out to one socket: frames leave in the order of the calls. What the client has not read is bounded by `maxBytes`, its largest
 * frame not counted: one answer may be larger, which says nothing of the client. The frame that passes the bound closes the socket with
 * the slow-consumer code, so that the client knows that it has to resume.
 */
export class Outbox {
  readonly #socket: WebSocket
  readonly #maxBytes: number
  readonly #closeTimeoutMs: number
  #overflowed = false
  /** Bytes of the largest frame since nothing was waiting. */
  #largest = 0

  constructor (socket: WebSocket, limits: { maxBytes: number, closeTimeoutMs: number }) {
    this.#socket = socket
    this.#maxBytes = limits.maxBytes
    this.#closeTimeoutMs = limits.closeTimeoutMs
  }

  send (frame: string): Sent {
    if (this.#overflowed) return 'overflow'
    if (this.#socket.readyState !== this.#socket.OPEN) return 'dead'
    const bytes = Buffer.byteLength(frame)
    const waiting = this.#socket.bufferedAmount
    this.#largest = Math.max(waiting === 0 ? 0 : this.#largest, bytes)
    if (waiting + bytes - this.#largest > this.#maxBytes) {
      this.#overflowed = true
      this.close('slowConsumer')
      return 'overflow'
    }
    this.#socket.send(frame)
    return 'sent'
  }

  /** Says goodbye with a code; a client that does not answer is cut off after the time limit. */
  close (reason: CloseReason): void {
    if (this.#socket.readyState === this.#socket.CLOSED) return
    this.#socket.close(closeCodes[reason], reason)
    const timer = setTimeout(() => { this.#socket.terminate() }, this.#closeTimeoutMs)
    this.#socket.once('close', () => { clearTimeout(timer) })
  }

  ping (): void {
    if (this.#socket.readyState === this.#socket.OPEN) this.#socket.ping()
  }

  terminate (): void {
    this.#socket.terminate()
  }
}
