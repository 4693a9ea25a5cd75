import type { ServerResponse } from 'node:http'
import type { CloseReason } from '../protocol/close-codes.ts'
import type { ServerEvent } from '../protocol/events.ts'
import { OutboxDrain } from './outbox-drain.ts'
import type { Outbox, Sent } from './outbox.ts'
import { closeFrame, eventFrame, heartbeatFrame, retryFrame } from './stream-frames.ts'
import { UnreadBound } from './unread-bound.ts'

export interface StreamOutboxOptions {
  readonly maxBytes: number
  readonly closeTimeoutMs: number
  /** The reader is about to be sent what it has missed: until then it goes on from where it was. */
  readonly resuming: boolean
  /** Whether the stream is complete with this event. */
  readonly isLast: (event: ServerEvent) => boolean
}

/** No cache and no proxy may keep a stream back, to store, compress or buffer it. */
const headers = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-store, no-transform',
  'x-accel-buffering': 'no'
}

/**
 * The way out to one reader of an event stream. Until `open` nothing is written, so that the request can still be answered with an error:
 * events wait, and so does a goodbye. The end of a response has no code: why the reader is let go is told by a last event, `close`.
 */
export class StreamOutbox implements Outbox {
  readonly duplex = false
  readonly gone: Promise<void>
  readonly #response: ServerResponse
  readonly #options: StreamOutboxOptions
  readonly #unread: UnreadBound
  /** What has not been written yet is not on its way to anybody. */
  readonly #drain = new OutboxDrain(() => this.#early !== undefined || this.#response.destroyed || this.#response.writableLength === 0)
  /** Frames from before the stream was open. */
  #early: { readonly frames: string[], bytes: number } | undefined = { frames: [], bytes: 0 }
  #complete = false
  #goodbye: CloseReason | undefined

  constructor (response: ServerResponse, options: StreamOutboxOptions) {
    this.#response = response
    this.#options = options
    this.#unread = new UnreadBound(options.maxBytes)
    this.gone = response.closed ? Promise.resolve() : new Promise((resolve) => {
      response.once('close', () => {
        this.#drain.end()
        resolve()
      })
    })
  }

  get unreadBytes (): number { return this.#early?.bytes ?? this.#response.writableLength }
  /** Whether it is too late to answer the request with an error. */
  get isOpen (): boolean { return this.#early === undefined }
  /** Whether the last event was sent. */
  get isComplete (): boolean { return this.#complete }
  /** Why the server ended the stream before it was complete; undefined when it did not. */
  get goodbye (): CloseReason | undefined { return this.#goodbye }

  /** Begins the stream, with what has waited. */
  open (): void {
    const early = this.#early
    if (early === undefined) return
    this.#early = undefined
    if (this.#response.destroyed) return
    this.#response.writeHead(200, headers)
    this.#write(`${retryFrame()}${early.frames.join('')}`)
    if (this.#complete) this.#end()
    else if (this.#goodbye !== undefined) this.#end(closeFrame(this.#goodbye))
  }

  send (event: ServerEvent, json: string): Sent {
    if (this.#goodbye === 'slowConsumer') return 'overflow'
    if (!this.#takes()) return 'dead'
    const frame = eventFrame(event, json, this.#options.resuming)
    const bytes = Buffer.byteLength(frame)
    if (!this.#unread.admits(bytes, this.unreadBytes)) {
      this.close('slowConsumer')
      return 'overflow'
    }
    this.#complete = this.#options.isLast(event)
    if (this.#early !== undefined) {
      this.#early.frames.push(frame)
      this.#early.bytes += bytes
    } else {
      this.#write(frame)
      if (this.#complete) this.#end()
    }
    return 'sent'
  }

  drained (): Promise<void> { return this.#drain.drained() }

  close (reason: CloseReason): void {
    if (this.#complete || this.#goodbye !== undefined || this.#response.destroyed) return
    this.#goodbye = reason
    if (this.#early === undefined) this.#end(closeFrame(reason))
    else this.#cutOffLater()
  }

  /** A comment, unless something else is on its way. */
  ping (): void {
    if (this.#early === undefined && this.#takes() && this.#response.writableLength === 0) this.#response.write(heartbeatFrame)
  }

  terminate (): void {
    this.#response.destroy()
  }

  /** A goodbye that has not been said yet keeps nothing from being sent before it. */
  #takes (): boolean {
    return !this.#complete && !this.#response.destroyed && (this.#goodbye === undefined || this.#early !== undefined)
  }

  #write (frames: string): void {
    this.#response.write(frames, this.#drain.check)
  }

  #end (frame?: string): void {
    this.#response.end(frame)
    this.#cutOffLater()
  }

  /** A reader that does not take what is left is cut off after the time limit; so is one whose request is not answered in it. */
  #cutOffLater (): void {
    const timer = setTimeout(() => { this.terminate() }, this.#options.closeTimeoutMs)
    this.#response.once('close', () => { clearTimeout(timer) })
  }
}
