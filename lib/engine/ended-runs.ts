import type { Logger } from '../context/logger.ts'
import type { RunOutcome } from '../protocol/events.ts'
import type { RunRecord } from '../stores/run-record.ts'

/** A run whose end is stored. */
export interface EndedRun {
  readonly run: RunRecord
  readonly status: RunOutcome
  /** What it has answered, where that is kept. */
  readonly content?: string
  /** How many messages of the thread it was given before its own; absent when it was not executed. */
  readonly messagesBefore?: number
  /** From its claim to its stored end; absent when it was not executed. */
  readonly durationMs?: number
}

/** Called in the identity and trace of the run. Nobody waits for what it returns. */
export type EndedRunListener = (ended: EndedRun) => void | Promise<void>

/** Who wants to know of each run that this process has ended. A listener that throws or rejects is logged, and hinders nobody. */
export class EndedRuns {
  readonly #listeners = new Set<EndedRunListener>()
  readonly #logger: Logger

  constructor (logger: Logger) {
    this.#logger = logger
  }

  listen (listener: EndedRunListener): () => void {
    this.#listeners.add(listener)
    return () => { this.#listeners.delete(listener) }
  }

  /** Called in the context of the run. */
  tell (ended: EndedRun): void {
    for (const listener of this.#listeners) {
      Promise.try(listener, ended)
        .catch((err: unknown) => { this.#logger.error({ err }, 'a listener to the end of runs failed') })
    }
  }
}
