import type { RunOutcome } from '../../lib/protocol/events.ts'

const maxRemembered = 256

/**
 * How runs ended, for whoever waits for it. A run may end before somebody asks: the last 256 endings are remembered.
 */
export class RunWatch {
  readonly #ended = new Map<string, RunOutcome>()
  readonly #waiting = new Map<string, PromiseWithResolvers<RunOutcome | undefined>>()
  #over = false

  /** Resolves with undefined when it cannot be known any more. */
  outcome (runId: string): Promise<RunOutcome | undefined> {
    const known = this.#ended.get(runId)
    if (known !== undefined || this.#over) return Promise.resolve(known)
    const waiting = this.#waiting.get(runId) ?? Promise.withResolvers<RunOutcome | undefined>()
    this.#waiting.set(runId, waiting)
    return waiting.promise
  }

  end (runId: string, outcome: RunOutcome): void {
    this.#ended.set(runId, outcome)
    const oldest = this.#ended.keys().next()
    if (this.#ended.size > maxRemembered && oldest.done === false) this.#ended.delete(oldest.value)
    this.#waiting.get(runId)?.resolve(outcome)
    this.#waiting.delete(runId)
  }

  /** The runs that somebody waits for. */
  get open (): readonly string[] {
    return [...this.#waiting.keys()]
  }

  /** Nothing more will be heard. */
  close (): void {
    this.#over = true
    for (const { resolve } of this.#waiting.values()) resolve(undefined)
    this.#waiting.clear()
  }
}
