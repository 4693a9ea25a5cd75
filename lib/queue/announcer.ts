/**
 * Says that work waits: at once, and then at most once in each interval, so that the runs of a busy moment are one word. The last of them
 * is never left out.
 */
export class Announcer {
  readonly #tell: () => void
  readonly #intervalMs: number
  #timer: NodeJS.Timeout | undefined
  #again = false

  constructor (tell: () => void, intervalMs: number) {
    this.#tell = tell
    this.#intervalMs = intervalMs
  }

  announce (): void {
    this.#again = this.#timer !== undefined
    if (!this.#again) this.#say()
  }

  /** What was still to be said is said now. */
  close (): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#again) this.#tell()
    this.#again = false
  }

  #say (): void {
    this.#tell()
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      if (!this.#again) return
      this.#again = false
      this.#say()
    }, this.#intervalMs)
    this.#timer.unref()
  }
}
