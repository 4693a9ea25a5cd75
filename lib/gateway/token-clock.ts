/** The longest delay that a timer of Node takes, in ms. */
const maxDelayMs = 2_147_483_647

export interface TokenClockOptions {
  /** How long before the end `expiring` is told. */
  readonly noticeMs: number
  readonly expiring: (expiresAt: Date) => void
  readonly expired: () => void
}

/** Watches when the token of one connection expires: tells it in time, and once it is over. `set` starts anew, unless it was stopped. */
export class TokenClock {
  readonly #options: TokenClockOptions
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  constructor (options: TokenClockOptions) {
    this.#options = options
  }

  set (expiresAt: Date): void {
    this.#wait(expiresAt.getTime() - this.#options.noticeMs, () => {
      this.#wait(expiresAt.getTime(), this.#options.expired) // first, because being told may lead to `stop` or `set`
      this.#options.expiring(expiresAt)
    })
  }

  /** For good. */
  stop (): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }

  #wait (until: number, then: () => void): void {
    clearTimeout(this.#timer)
    if (this.#stopped) return
    const remainingMs = until - Date.now()
    this.#timer = remainingMs > maxDelayMs
      ? setTimeout(() => { this.#wait(until, then) }, maxDelayMs)
      : setTimeout(then, Math.max(0, remainingMs))
  }
}
