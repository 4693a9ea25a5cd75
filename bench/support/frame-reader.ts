import { once } from 'node:events'
import { WebSocket } from 'ws'

/** A socket that counts what it is sent, and keeps it where that is asked for. */
export class FrameReader {
  readonly frames: string[] = []
  readonly #socket: WebSocket
  readonly #keeps: boolean
  #count = 0
  #waiting: { readonly isLast: (frame: Buffer, count: number) => boolean, readonly resolve: () => void } | undefined
  #failed: Error | undefined
  #fail: (error: Error) => void = () => undefined

  constructor (url: string, offer: readonly string[], { keeps = false } = {}) {
    this.#keeps = keeps
    this.#socket = new WebSocket(url, [...offer], { perMessageDeflate: false })
    this.#socket.on('message', (data: Buffer) => { this.#receive(data) })
    this.#socket.on('error', (error) => { this.#lose(error) })
    this.#socket.on('close', (code) => { this.#lose(new Error(`A server closed a socket with ${code}`)) })
  }

  /** Resolves with the next frame that is the last one. */
  async until (isLast: (frame: Buffer, count: number) => boolean): Promise<void> {
    if (this.#failed !== undefined) throw this.#failed
    await new Promise<void>((resolve, reject) => {
      this.#waiting = { isLast, resolve }
      this.#fail = reject
    })
  }

  /** Resolves when so many more frames have come. */
  async more (frames: number): Promise<void> {
    const last = this.#count + frames
    await this.until((_frame, count) => count >= last)
  }

  send (command: object): void {
    this.#socket.send(JSON.stringify(command))
  }

  async close (): Promise<void> {
    this.#socket.removeAllListeners('close')
    this.#socket.close()
    await once(this.#socket, 'close')
  }

  #receive (data: Buffer): void {
    this.#count += 1
    if (this.#keeps) this.frames.push(data.toString('utf8'))
    if (this.#waiting?.isLast(data, this.#count) !== true) return
    const { resolve } = this.#waiting
    this.#waiting = undefined
    resolve()
  }

  #lose (error: Error): void {
    this.#failed ??= error
    this.#fail(this.#failed)
  }
}
