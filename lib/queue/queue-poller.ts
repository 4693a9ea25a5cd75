import { setTimeout as delay } from 'node:timers/promises'
import { context, ROOT_CONTEXT } from '@opentelemetry/api'
import type { Logger } from '../context/logger.ts'
import type { ClaimableThread, QueueStore } from '../stores/queue-store.ts'

/** For how many threads more there is room: those that can begin at once, and those whose runs would have to wait here. */
export interface Room {
  readonly free: number
  readonly waiting: number
}

export interface QueuePollerOptions {
  readonly store: Pick<QueueStore, 'claimable'>
  readonly room: () => Room
  /** Takes what there is in the thread, in its name; called in nobody's. */
  readonly launch: (thread: ClaimableThread) => void
  /** How often the queue is asked, give or take a quarter, so that the workers do not ask all at once. */
  readonly intervalMs: number
  /** How long a run waits for a worker with room before one without takes it, so that its client can be told that it waits. */
  readonly patienceMs: number
  /** Others put work into the queue as well. Without them it is asked only while something is known to wait. */
  readonly hasPeers: boolean
  readonly logger: Logger
}

/** Threads that are asked for at once. */
const maxThreads = 256

/**
 * Looks for work: whenever somebody says that there may be some, however often, and from time to time. It never takes more than there is
 * room for, and what it is told of meanwhile is looked for as soon as something has ended.
 */
export class QueuePoller {
  readonly #options: QueuePollerOptions
  readonly #closing = new AbortController()
  #looking: Promise<void> | undefined
  #polling: Promise<void> | undefined
  #again = false
  /** Something waits that there was no room for. */
  #behind = false
  /** Threads that were worked on here and are not any more, since the queue was last asked. */
  #ended = 0

  constructor (options: QueuePollerOptions) {
    this.#options = options
  }

  /** Looks at once, and then from time to time. */
  start (): void {
    this.look()
    if (this.#options.hasPeers) this.#poll()
  }

  /** There may be work. */
  look (): void {
    if (this.#options.room().free <= 0) return this.postpone()
    this.#ask()
  }

  /** There is work that nobody here has room for. */
  postpone (): void {
    this.#behind = true
    this.#poll()
  }

  /**
   * A thread is not worked on here any more. One that waits takes its place, also where others wait here already: whoever has had least comes
   * first in the queue, and is not behind what was taken from it before.
   */
  freed (): void {
    if (!this.#behind) return
    this.#ended += 1
    this.#ask()
  }

  async close (): Promise<void> {
    this.#closing.abort()
    await Promise.all([this.#looking, this.#polling])
  }

  #ask (): void {
    if (this.#closing.signal.aborted) return
    this.#again = true
    this.#looking ??= context.with(ROOT_CONTEXT, () => this.#lookWhileAsked())
  }

  async #lookWhileAsked (): Promise<void> {
    while (this.#again && !this.#closing.signal.aborted) {
      this.#again = false
      await this.#lookOnce()
    }
    this.#looking = undefined
  }

  async #lookOnce (): Promise<void> {
    const { store, room, launch, patienceMs, logger } = this.#options
    const { free, waiting } = room()
    const places = Math.max(free, this.#ended)
    const limit = Math.min(places > 0 ? places : waiting, maxThreads)
    this.#ended = 0
    if (limit <= 0) return
    try {
      const threads = await store.claimable({ limit, waitedMs: places > 0 ? undefined : patienceMs })
      this.#behind = places <= 0 || threads.length === limit
      if (this.#closing.signal.aborted) return
      for (const thread of threads) launch(thread)
    } catch (err) {
      this.#behind = true
      logger.warn({ err }, 'the queue could not be asked for work')
    }
    if (this.#behind) this.#poll()
  }

  #poll (): void {
    if (!this.#closing.signal.aborted) this.#polling ??= context.with(ROOT_CONTEXT, () => this.#pollWhileNeeded())
  }

  async #pollWhileNeeded (): Promise<void> {
    const { intervalMs, hasPeers } = this.#options
    const { signal } = this.#closing
    while ((hasPeers || this.#behind) && !signal.aborted) {
      await delay(intervalMs * (0.75 + Math.random() / 2), undefined, { ref: false, signal }).catch(() => undefined)
      this.#again = true
      await (this.#looking ??= this.#lookWhileAsked())
    }
    this.#polling = undefined
  }
}
