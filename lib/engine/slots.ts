interface Waiting { readonly grant: () => void }

/**
 * How many runs may work at the same time in this process. `acquire` resolves with the slot's release, in order of the calls, and
 * rejects with the signal's reason when it is aborted first. Releasing twice frees one slot.
 */
export class Slots {
  readonly #limit: number
  #taken = 0
  readonly #waiting = new Set<Waiting>()

  constructor (limit: number) {
    this.#limit = limit
  }

  get taken (): number { return this.#taken }
  get waiting (): number { return this.#waiting.size }

  async acquire (signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted()
    if (this.#taken < this.#limit) this.#taken += 1
    else await this.#wait(signal)
    let held = true
    return () => {
      if (!held) return
      held = false
      this.#release()
    }
  }

  async #wait (signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const waiting: Waiting = { grant: resolve }
    const abort = (): void => {
      this.#waiting.delete(waiting)
      reject(signal.reason as Error) // an Error: every abort of ours gives one as reason
    }
    this.#waiting.add(waiting)
    signal.addEventListener('abort', abort, { once: true })
    try {
      await promise
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }

  /** Hands the slot to the one who has waited longest; the count stays. */
  #release (): void {
    const [next] = this.#waiting
    if (next === undefined) {
      this.#taken -= 1
      return
    }
    this.#waiting.delete(next)
    next.grant()
  }
}
