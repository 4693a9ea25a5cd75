import { setTimeout } from 'node:timers/promises'
import { context, ROOT_CONTEXT } from '@opentelemetry/api'
import type { Logger } from '../context/logger.ts'
import type { Upkeep } from '../stores/upkeep.ts'

export interface PurgeLoopOptions {
  readonly upkeep: Upkeep
  /** How long a deleted thread can be restored. */
  readonly threadRetentionDays: number
  /** How long events are kept; 0: for ever. */
  readonly eventRetentionDays: number
  readonly intervalMs: number
  readonly logger: Logger
}

const batch = 100
const dayMs = 24 * 60 * 60 * 1_000

/**
 * Purges at once and then at every interval, counted from the end of the purge before, so never two at a time. It runs in no one's
 * context. A purge that fails is logged, and tried again at its next turn. `close` lets a purge stop behind the thread that it is at.
 */
export class PurgeLoop {
  readonly #options: PurgeLoopOptions
  readonly #closing = new AbortController()
  #running: Promise<void> | undefined

  constructor (options: PurgeLoopOptions) {
    this.#options = options
  }

  start (): void {
    this.#running ??= context.with(ROOT_CONTEXT, () => this.#run())
  }

  async close (): Promise<void> {
    this.#closing.abort()
    await this.#running
  }

  async #run (): Promise<void> {
    const { signal } = this.#closing
    while (!signal.aborted) {
      await this.#purge().catch((error: unknown) => {
        this.#options.logger.warn({ err: error }, 'What is kept no longer could not be purged')
      })
      // Rejects only when the wait is aborted, which the loop's condition sees.
      await setTimeout(this.#options.intervalMs, undefined, { signal, ref: false }).catch(() => undefined)
    }
  }

  // Batch after batch, while there is a full one.
  async #purge (): Promise<void> {
    const { upkeep, threadRetentionDays, eventRetentionDays, logger } = this.#options
    const { signal } = this.#closing
    const deletedBefore = daysAgo(threadRetentionDays)
    const eventsBefore = eventRetentionDays === 0 ? undefined : daysAgo(eventRetentionDays)
    const sum = { threads: 0, events: 0 }
    for (let more = true; more && !signal.aborted;) {
      const { threads, events } = await upkeep.purge({ deletedBefore, eventsBefore, limit: batch, signal })
      sum.threads += threads
      sum.events += events
      more = threads >= batch || events > 0
    }
    if (sum.threads > 0 || sum.events > 0) logger.info(sum, 'Purged what is kept no longer')
  }
}

const daysAgo = (days: number): Date => new Date(Date.now() - days * dayMs)
