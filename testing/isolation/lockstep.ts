import { bindThread } from '../../lib/context/bind.ts'

/** How long whoever has arrived waits for the others, in ms: they may be waiting for each other, or not come at all. */
const patienceMs = 200

interface Arrival { readonly runId: string, readonly threadId: string, readonly go: () => void }

/** What is special about some threads of a round. */
export interface Roles {
  /** Go on once all others have ended. */
  readonly late?: ReadonlySet<string>
  /** Wait at their second step until they are stopped. */
  readonly stopped?: ReadonlySet<string>
  /** Fail at their second step. */
  readonly failing?: ReadonlySet<string>
}

/**
 * Lets runs go step by step together: a step begins when all runs of the round have come to theirs, and then all of them are called one
 * right after the other, each in its own context. So whatever one leaves in a variable, the others find, or have overwritten.
 */
export class Lockstep {
  #roles: Roles = {}
  #open = new Set<string>()
  #missing = 0
  #arrived: Arrival[] = []
  #timer: NodeJS.Timeout | undefined

  get roles (): Roles { return this.#roles }

  /** Begins a round of so many runs. */
  begin (runs: number, roles: Roles): void {
    this.#roles = roles
    this.#open = new Set()
    this.#missing = runs
  }

  /** The run has ended, whether it has done a step or not. */
  leave (runId: string): void {
    if (!this.#open.delete(runId)) this.#missing = Math.max(0, this.#missing - 1)
    this.#look()
  }

  /** Does a step of the run in the context that is active now, when it is its turn. Aborting the signal makes it the run's turn. */
  async step<T> (run: { readonly runId: string, readonly threadId: string }, signal: AbortSignal, work: () => T | Promise<T>): Promise<T> {
    this.#enter(run.runId)
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const go = bindThread(() => {
      signal.removeEventListener('abort', hasten)
      try {
        Promise.resolve(work()).then(resolve, reject)
      } catch (error) {
        reject(error instanceof Error ? error : new Error(String(error)))
      }
    })
    const arrival: Arrival = { ...run, go }
    const hasten = (): void => {
      this.#arrived = this.#arrived.filter((other) => other !== arrival)
      go()
    }
    this.#arrived.push(arrival)
    if (signal.aborted) hasten()
    else signal.addEventListener('abort', hasten, { once: true })
    this.#look()
    return await promise
  }

  #enter (runId: string): void {
    if (this.#open.has(runId)) return
    this.#open.add(runId)
    this.#missing = Math.max(0, this.#missing - 1)
  }

  #look (): void {
    const { late } = this.#roles
    const waiting = new Set(this.#arrived.map(({ runId }) => runId))
    const held = new Set(this.#arrived.filter(({ threadId }) => late?.has(threadId) === true).map(({ runId }) => runId))
    const others = this.#open.size + this.#missing - held.size
    if (waiting.size === 0) return
    if (others === 0 || (waiting.size > held.size && waiting.size - held.size >= others)) this.#release()
    else this.#timer ??= setTimeout(() => { this.#release() }, patienceMs)
  }

  /** Those that are late only when nobody else is there. */
  #release (): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const punctual = this.#arrived.filter(({ threadId }) => this.#roles.late?.has(threadId) !== true)
    const next = punctual.length > 0 ? punctual : this.#arrived
    this.#arrived = this.#arrived.filter((arrival) => !next.includes(arrival))
    for (const { go } of next) go()
    this.#look()
  }
}
