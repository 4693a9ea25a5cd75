/**
 * The frames of one connection, worked on one after the other in order of arrival. It is bounded: a frame that finds it full is
 * not taken. Work never throws out of it; what throws is given to `failed`.
 */
export class Inbox<Frame> {
  readonly #work: (frame: Frame) => Promise<void>
  readonly #failed: (error: unknown) => void
  readonly #limit: number
  #waiting: Frame[] = []
  #working = false
  #closed = false

  constructor (options: { limit: number, work: (frame: Frame) => Promise<void>, failed: (error: unknown) => void }) {
    this.#limit = options.limit
    this.#work = options.work
    this.#failed = options.failed
  }

  get waiting (): number { return this.#waiting.length }

  /** False when there is no place for the frame, or the inbox is closed. */
  push (frame: Frame): boolean {
    if (this.#closed || this.#waiting.length >= this.#limit) return false
    this.#waiting.push(frame)
    if (!this.#working) this.#run().catch(this.#failed)
    return true
  }

  /** Forgets what waits. What is being worked on goes on. */
  close (): void {
    this.#closed = true
    this.#waiting = []
  }

  async #run (): Promise<void> {
    this.#working = true
    for (let frame = this.#waiting.shift(); frame !== undefined; frame = this.#waiting.shift()) {
      try {
        await this.#work(frame)
      } catch (error) {
        this.#failed(error)
      }
    }
    this.#working = false
  }
}
