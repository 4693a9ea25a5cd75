/** The longest delay that a timer of Node takes, in ms. */
const maxDelayMs = 2_147_483_647

export interface TokenClockOptions {
  /** How long before the end `expiring` is told. */
  readonly noticeMs: number
  readonly expiring: (expiresAt: Date) => void
  readonly expired: () => void
}

/** Watches when the token of one connection expires: tells it in time, and once it is over. `set` starts anew. */
export class TokenClock {
  readonly #options: TokenClockOptions
  #timer: NodeJS.Timeout | undefined

  constructor (options: TokenClockOptions) {
    this.#options = options
  }

  set (expiresAt: Date): void {
    this.#wait(expiresAt.getTime() - this.#options.noticeMs, () => {
      this.#options.expiring(expiresAt)
      this.#wait(expiresAt.getTime(), this.#options.expired)
    })
  }

  stop (): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #wait (until: number, then: () => void): void {
    this.stop()
    const remainingMs = until - Date.now()
    this.#timer = remainingMs > maxDelayMs
      ? setTimeout(() => { this.#wait(until, then) }, maxDelayMs)
      : setTimeout(then, Math.max(0, remainingMs))
  }
}
