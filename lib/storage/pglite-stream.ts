import { Duplex } from 'node:stream'
import type { MessagePort } from 'node:worker_threads'

// AuthenticationOk and ReadyForQuery (idle). Source: PostgreSQL, "Frontend/Backend Protocol", message formats.
const welcome = Buffer.from('R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I', 'latin1')
const terminate = 'X'.charCodeAt(0)

/**
 * A connection to the embedded database in the shape of the socket that `pg` expects: bytes written are frames of the
 * protocol and go to the worker, what it answers is read. Start-up is answered here, since the embedded database has no users
 * to authenticate. When the worker ends, the stream is destroyed with an error, so nothing that was asked waits for ever.
 */
export class PgliteStream extends Duplex {
  readonly #port: MessagePort
  #started = false

  constructor (port: MessagePort) {
    super({ decodeStrings: true })
    this.#port = port
    port.on('message', (answer: Uint8Array) => { this.push(answer) })
    port.once('close', () => { this.destroy(new Error('The embedded database has ended')) })
  }

  connect (): this {
    process.nextTick(() => { this.emit('connect') })
    return this
  }

  // Asked for by pg of a socket, without meaning here.
  setNoDelay (): this { return this }
  setKeepAlive (): this { return this }
  ref (): this { this.#port.ref(); return this }
  unref (): this { this.#port.unref(); return this }

  override _read (): void {
    // Answers are pushed as they come; their number is bounded by what was asked.
  }

  override _write (frames: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#send(frames)
    done()
  }

  override _writev (chunks: readonly { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.#send(Buffer.concat(chunks.map(({ chunk }) => chunk)))
    done()
  }

  override _final (done: (error?: Error | null) => void): void {
    this.push(null)
    done()
  }

  override _destroy (error: Error | null, done: (error?: Error | null) => void): void {
    this.#port.close()
    done(error)
  }

  #send (frames: Buffer): void {
    if (!this.#started) {
      this.#started = true
      this.push(welcome)
    } else if (frames[0] !== terminate) {
      const copy = new Uint8Array(frames) // of these bytes alone: a Buffer may be a window of a larger one
      this.#port.postMessage(copy, [copy.buffer])
    }
  }
}
