import { context, ROOT_CONTEXT } from '@opentelemetry/api'
import type { Logger } from '../context/logger.ts'

/** What is asked of one. */
export type Doubtful = Pick<Doubt, 'doubtful' | 'on'>

/** There is doubt while one of the two has some; either of them tells. */
export function eitherDoubt (one: Doubtful, other: Doubtful): Doubtful {
  return {
    get doubtful () { return one.doubtful || other.doubtful },
    on (listener) {
      const stop = [one.on(listener), other.on(listener)]
      return () => { for (const each of stop) each() }
    }
  }
}

/** Whether signals may be lost, and who wants to know when that changes. */
export class Doubt {
  readonly #listeners = new Set<() => void>()
  readonly #logger: Logger
  #doubtful: boolean

  constructor (logger: Logger, doubtful: boolean) {
    this.#logger = logger
    this.#doubtful = doubtful
  }

  get doubtful (): boolean { return this.#doubtful }

  /** Tells the listeners when it begins, since something may have been lost until it was noticed, and when it is over, for what was lost meanwhile. */
  set (doubtful: boolean): void {
    if (doubtful === this.#doubtful) return
    this.#doubtful = doubtful
    this.tell()
  }

  /** Something may have been lost, although it is over already. */
  tell (): void {
    const listening = [...this.#listeners] // who is told may add another
    for (const listener of listening) {
      try {
        context.with(ROOT_CONTEXT, listener)
      } catch (err) {
        this.#logger.error({ err }, 'whoever asks after lost signals failed')
      }
    }
  }

  on (listener: () => void): () => void {
    const own = (): void => { listener() }
    this.#listeners.add(own)
    return () => { this.#listeners.delete(own) }
  }
}
