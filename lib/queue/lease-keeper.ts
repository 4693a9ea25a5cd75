import { setTimeout as delay } from 'node:timers/promises'
import { context, ROOT_CONTEXT } from '@opentelemetry/api'
import type { Logger } from '../context/logger.ts'
import type { Lease, LeasedRun, QueueStore, RenewedRun } from '../stores/queue-store.ts'

export interface Holder {
  /** Somebody else has the run, or may have it: nothing more may be told of it. Called once. */
  readonly lost: () => void
  /** Somebody has asked for its end on another node. Called again until the run is let go. */
  readonly stop: (reason: string) => void
}

export interface LeaseKeeperOptions {
  readonly store: Pick<QueueStore, 'renew'>
  readonly lease: Lease
  readonly logger: Logger
  /** In ms, never going back. */
  readonly now?: () => number
}

interface Held extends LeasedRun, Holder {
  /** Until then nobody else can have taken it, by this process's clock: it is counted from before the question. */
  goodUntil: number
}

/**
 * Keeps the leases of the runs that are executed here: all of them are renewed by one question, three times in a lease. A run that is not
 * in the answer is lost. When no answer comes, all are lost as soon as their leases are over: by then others may go on with them. It is right without
 * that as well, because the log refuses what a stale execution tells.
 *
 * Nothing is asked while nothing is held. The questions are asked in nobody's name.
 */
export class LeaseKeeper {
  readonly #options: LeaseKeeperOptions
  readonly #now: () => number
  readonly #held = new Set<Held>()
  #beating: Promise<void> | undefined
  readonly #closing = new AbortController()

  constructor (options: LeaseKeeperOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
  }

  /** Keeps the lease of a run that was claimed just now, by a question of `claimedAt` (`performance.now()`). Returns what lets it go. */
  hold (run: LeasedRun, claimedAt: number, holder: Holder): () => void {
    const held = { ...run, ...holder, goodUntil: claimedAt + this.#options.lease.leaseMs }
    this.#held.add(held)
    this.#beating ??= context.with(ROOT_CONTEXT, () => this.#beat())
    return () => { this.#held.delete(held) }
  }

  get size (): number { return this.#held.size }

  /** Lets go of all runs, whose leases end by themselves. */
  async close (): Promise<void> {
    this.#held.clear()
    this.#closing.abort()
    await this.#beating
  }

  async #beat (): Promise<void> {
    const { signal } = this.#closing
    const intervalMs = this.#options.lease.leaseMs / 3
    let tookMs = 0
    while (this.#held.size > 0 && !signal.aborted) {
      await delay(Math.max(0, intervalMs - tookMs), undefined, { ref: false, signal }).catch(() => undefined)
      if (signal.aborted || this.#held.size === 0) break
      const askedAt = this.#now()
      await this.#renew([...this.#held], askedAt)
      tookMs = this.#now() - askedAt
    }
    this.#beating = undefined
  }

  async #renew (asked: readonly Held[], askedAt: number): Promise<void> {
    const { lease, logger } = this.#options
    try {
      const answer = new Map((await this.#ask(asked)).map((run) => [run.runId, run]))
      for (const held of asked) this.#heard(held, answer.get(held.runId), askedAt + lease.leaseMs)
    } catch (err) {
      logger.warn({ err, runs: asked.length }, 'the leases of the runs could not be renewed')
      for (const held of asked) if (held.goodUntil <= this.#now()) this.#lose(held)
    }
  }

  /** An answer that takes longer than the next question is none. */
  async #ask (asked: readonly Held[]): Promise<readonly RenewedRun[]> {
    const { store, lease } = this.#options
    const answered = new AbortController()
    const late = delay(lease.leaseMs / 3, undefined, { ref: false, signal: answered.signal }).then(() => { throw new Error('No answer in time') })
    late.catch(() => undefined) // it is what the race says, or nobody's matter any more
    try {
      return await Promise.race([store.renew(lease, asked.map(({ runId, attempt }) => ({ runId, attempt }))), late])
    } finally {
      answered.abort()
    }
  }

  #heard (held: Held, answer: RenewedRun | undefined, goodUntil: number): void {
    if (!this.#held.has(held)) return // it has ended since
    if (answer === undefined) return this.#lose(held)
    held.goodUntil = goodUntil
    if (answer.stopReason !== null) held.stop(answer.stopReason)
  }

  #lose (held: Held): void {
    if (this.#held.delete(held)) held.lost()
  }
}
