import { bindThread } from '../context/bind.ts'

/**
 * Gathers the small pieces of a streamed text, so that one event is stored for many of them. A piece waits at most
 * `maxDelayMs`, and a full buffer of `maxCharacters` does not wait.
 */
export class DeltaBuffer {
  readonly #flush: (text: string) => void
  readonly #maxDelayMs: number
  readonly #maxCharacters: number
  #text = ''
  #timer: NodeJS.Timeout | undefined

  constructor (flush: (text: string) => void, limits: { maxDelayMs: number, maxCharacters: number }) {
    this.#flush = flush
    this.#maxDelayMs = limits.maxDelayMs
    this.#maxCharacters = limits.maxCharacters
  }

  add (text: string): void {
    this.#text += text
    if (this.#text.length >= this.#maxCharacters) return this.flush()
    if (this.#text !== '') this.#timer ??= setTimeout(bindThread(() => { this.flush() }), this.#maxDelayMs)
  }

  /** Tells what has gathered, and stops the timer. */
  flush (): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const text = this.#text
    this.#text = ''
    if (text !== '') this.#flush(text)
  }
}
