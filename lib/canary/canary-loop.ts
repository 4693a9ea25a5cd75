import { setTimeout as delay } from 'node:timers/promises'
import { context, ROOT_CONTEXT } from '@opentelemetry/api'
import type { Logger } from '../context/logger.ts'
import { isThreadlineError, ThreadlineError } from '../errors.ts'
import { tellRound } from './crossing.ts'
import type { Watch } from './watch.ts'

export interface CanaryLoopOptions {
  /** Plays one round, until its end or until the signal is aborted; then it still clears away what it has made. */
  readonly play: (signal: AbortSignal) => Promise<void>
  readonly watch: Pick<Watch, 'crossings'>
  /** From the end of a round to the next one. */
  readonly intervalMs: number
  readonly logger: Logger
  /** How long a round may take before it has failed; 30 s without it. */
  readonly limitMs?: number
  /** Waits between two rounds, and ends at once when it is aborted. */
  readonly wait?: (ms: number, signal: AbortSignal) => Promise<void>
}

const roundLimitMs = 30_000
/** Rounds that fail one after the other are played ever more rarely, down to one in this many intervals. */
const maxBackoff = 16
/** How long closing waits for a round that is given up to clear away what it has made. The next process does what is left. */
const closeLimitMs = 1_000

/** Plays rounds, one after the other, in no one's context, until it is closed. It keeps no process alive, and throws nothing. */
export class CanaryLoop {
  readonly #options: CanaryLoopOptions
  readonly #closing = new AbortController()
  #running: Promise<void> | undefined

  constructor (options: CanaryLoopOptions) {
    this.#options = options
  }

  start (): void {
    this.#running ??= context.with(ROOT_CONTEXT, () => this.#run())
  }

  /** Gives the round up that is being played, which counts as none. */
  async close (): Promise<void> {
    this.#closing.abort(new ThreadlineError('THREADLINE_SHUTTING_DOWN'))
    const over = new AbortController()
    await Promise.race([this.#running, pause(closeLimitMs, over.signal)])
    over.abort()
  }

  async #run (): Promise<void> {
    const { intervalMs, wait = pause } = this.#options
    const { signal } = this.#closing
    for (let failures = 0; !signal.aborted;) {
      failures = await this.#playOne() ? 0 : failures + 1
      await wait(intervalMs * Math.min(2 ** failures, maxBackoff), signal)
    }
  }

  /** False when the round could not be played to its end. */
  async #playOne (): Promise<boolean> {
    const { play, watch, logger, limitMs = roundLimitMs } = this.#options
    const before = watch.crossings
    const limit = new AbortController()
    const timer = setTimeout(() => { limit.abort(new ThreadlineError('THREADLINE_TIMED_OUT')) }, limitMs).unref()
    let failure: unknown
    try {
      await play(AbortSignal.any([this.#closing.signal, limit.signal]))
    } catch (err) {
      failure = err ?? new Error('The round was thrown out of for no reason')
    }
    clearTimeout(timer)
    if (this.#closing.signal.aborted || isThreadlineError(failure, 'THREADLINE_SHUTTING_DOWN')) return true // nobody has failed
    const crossings = watch.crossings - before
    if (failure !== undefined) logger.warn({ err: failure }, 'A round of the canaries failed')
    tellRound({ outcome: failure === undefined && crossings === 0 ? 'ok' : 'failed', crossings })
    return failure === undefined
  }
}

async function pause (ms: number, signal: AbortSignal): Promise<void> {
  await delay(Math.min(ms, 2_147_483_647), undefined, { signal, ref: false }).catch(() => undefined)
}
