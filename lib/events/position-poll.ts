import { context, ROOT_CONTEXT } from '@opentelemetry/api'

export interface PositionPollOptions {
  /** Does not reject. */
  readonly ask: () => Promise<void>
  /** Whether there is a next time. */
  readonly goesOn: () => boolean
  readonly intervalMs: () => number
}

/** Asks again and again, never twice at the same time, in nobody's context. */
export class PositionPoll {
  readonly #options: PositionPollOptions
  #timer: NodeJS.Timeout | undefined
  #asking: Promise<void> | undefined
  #again = false
  #closed = false

  constructor (options: PositionPollOptions) {
    this.#options = options
  }

  /** Asks when its time has come, unless it is going to already. */
  soon (): void {
    if (this.#closed || this.#timer !== undefined || this.#asking !== undefined) return
    const intervalMs = this.#options.intervalMs() * (0.9 + Math.random() * 0.2) // so that nodes do not all ask at once
    this.#timer = context.with(ROOT_CONTEXT, () => setTimeout(() => { this.now() }, intervalMs))
    this.#timer.unref()
  }

  /** Asks at once; when it is being asked, once more behind it. */
  now (): void {
    if (this.#closed) return
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#asking !== undefined) {
      this.#again = true
      return
    }
    this.#asking = context.with(ROOT_CONTEXT, () => this.#askAll())
  }

  async close (): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    await this.#asking
  }

  async #askAll (): Promise<void> {
    do {
      this.#again = false
      await this.#options.ask()
    } while (this.#again && !this.#closed)
    this.#asking = undefined
    if (this.#options.goesOn()) this.soon()
  }
}
