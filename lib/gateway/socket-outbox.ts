import type { WebSocket } from 'ws'
import { closeCodes, type CloseReason } from '../protocol/close-codes.ts'
import type { ServerEvent } from '../protocol/events.ts'
import { OutboxDrain } from './outbox-drain.ts'
import type { Outbox, Sent } from './outbox.ts'
import { UnreadBound } from './unread-bound.ts'

/** The way out to one socket. */
export class SocketOutbox implements Outbox {
  readonly duplex = true
  readonly gone: Promise<void>
  readonly #socket: WebSocket
  readonly #unread: UnreadBound
  readonly #closeTimeoutMs: number
  readonly #drain: OutboxDrain
  #overflowed = false

  constructor (socket: WebSocket, limits: { maxBytes: number, closeTimeoutMs: number }) {
    this.#socket = socket
    this.#unread = new UnreadBound(limits.maxBytes)
    this.#closeTimeoutMs = limits.closeTimeoutMs
    this.#drain = new OutboxDrain(() => socket.bufferedAmount === 0 || socket.readyState === socket.CLOSED)
    this.gone = new Promise((resolve) => {
      socket.once('close', () => {
        this.#drain.end()
        resolve()
      })
    })
  }

  get unreadBytes (): number { return this.#socket.bufferedAmount }

  /** Nothing is kept back: a refused handshake was answered before there was a socket. */
  open (): void {}

  send (_event: ServerEvent, frame: string): Sent {
    if (this.#overflowed) return 'overflow'
    if (this.#socket.readyState !== this.#socket.OPEN) return 'dead'
    if (!this.#unread.admits(Buffer.byteLength(frame), this.#socket.bufferedAmount)) {
      this.#overflowed = true
      this.close('slowConsumer')
      return 'overflow'
    }
    this.#socket.send(frame, this.#drain.check)
    return 'sent'
  }

  drained (): Promise<void> { return this.#drain.drained() }

  /** A client that does not answer is cut off after the time limit. */
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
