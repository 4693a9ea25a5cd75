import { Duplex } from 'node:stream'

/** The way to the database's process. */
export interface FrameChannel {
  /** Resolves with the way there when the database can be talked to. */
  open (): Promise<(frames: Uint8Array) => void>
  /** Nothing more is sent or received. */
  close (): void
}

// AuthenticationOk and ReadyForQuery (idle). Source: PostgreSQL, "Frontend/Backend Protocol", message formats.
const welcome = Buffer.from('R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I', 'latin1')
const terminate = 'X'.charCodeAt(0)

/**
 * A connection to the embedded database in the shape of the socket that `pg` expects: bytes written are frames of the
 * protocol and go to the database's process, what it answers is pushed by whoever made the stream. Start-up is answered here,
 * since the embedded database has no users to authenticate. Frames of one turn of the event loop travel together.
 */
export class PgliteStream extends Duplex {
  readonly #channel: FrameChannel
  #sendFrames: ((frames: Uint8Array) => void) | undefined
  #started = false
  #waiting: Buffer[] = []

  constructor (channel: FrameChannel) {
    super()
    this.#channel = channel
  }

  connect (): this {
    this.#channel.open().then(
      (sendFrames) => {
        this.#sendFrames = sendFrames
        this.emit('connect')
      },
      (error: unknown) => { this.destroy(error instanceof Error ? error : new Error(String(error))) }
    )
    return this
  }

  // Asked for by pg of a socket, without meaning here.
  setNoDelay (): this { return this }
  setKeepAlive (): this { return this }
  ref (): this { return this }
  unref (): this { return this }

  override _read (): void {
    // Answers are pushed as they come; their number is bounded by what was asked.
  }

  override _write (frames: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (!this.#started) {
      this.#started = true
      this.push(welcome)
    } else if (frames[0] !== terminate) {
      if (this.#waiting.length === 0) setImmediate(() => { this.#flush() })
      this.#waiting.push(frames)
    }
    done()
  }

  override _final (done: (error?: Error | null) => void): void {
    this.push(null)
    done()
  }

  override _destroy (error: Error | null, done: (error?: Error | null) => void): void {
    this.#waiting = []
    this.#channel.close()
    done(error)
  }

  #flush (): void {
    if (this.destroyed) return
    this.#sendFrames?.(Buffer.concat(this.#waiting))
    this.#waiting = []
  }
}
