import { context, ROOT_CONTEXT } from '@opentelemetry/api'
import { ThreadlineError } from '../errors.ts'

interface Waiting<Item, Result> {
  readonly item: Item
  readonly resolve: (result: Result) => void
  readonly reject: (error: unknown) => void
}

export interface GroupCommitOptions<Item, Result> {
  /** Writes a batch at once and answers in its order. */
  readonly commit: (batch: readonly Item[]) => Promise<readonly Result[]>
  /** Told after each commit, before the callers are. */
  readonly committed?: (batch: readonly Item[], results: readonly Result[]) => void
  /**
   * Whether an error of `commit` may be that of a single item. Then nothing of the batch was written, and its halves are written one after the other, so
   * that only this item is refused and not all that others have handed in at the same time. Never by default.
   */
  readonly isOfOne?: (error: unknown) => boolean
  readonly maxBatch: number
  /** Items that may wait; one more is refused with `THREADLINE_STORAGE_UNAVAILABLE`. */
  readonly maxWaiting: number
}

/**
 * Writes what many callers hand in at the same time in one transaction: while a batch is being written, the next one gathers.
 * Order of calls is order of writing. The loop runs in no one's context, because the caller who happens to start it would
 * otherwise lend its identity to everybody else's items.
 */
export class GroupCommit<Item, Result> {
  readonly #options: GroupCommitOptions<Item, Result>
  #waiting: Waiting<Item, Result>[] = []
  #writing: Promise<void> | undefined
  #closed = false

  constructor (options: GroupCommitOptions<Item, Result>) {
    this.#options = options
  }

  /** Items that wait for their batch. */
  get waiting (): number { return this.#waiting.length }

  add (item: Item): Promise<Result> {
    if (this.#closed) return Promise.reject(new ThreadlineError('THREADLINE_SHUTTING_DOWN'))
    if (this.#waiting.length >= this.#options.maxWaiting) {
      return Promise.reject(new ThreadlineError('THREADLINE_STORAGE_UNAVAILABLE', 'Too many writes are waiting'))
    }
    const { promise, resolve, reject } = Promise.withResolvers<Result>()
    this.#waiting.push({ item, resolve, reject })
    this.#writing ??= context.with(ROOT_CONTEXT, () => this.#write())
    return promise
  }

  /** Resolves when everything handed in has been written or refused. Nothing can be handed in any more. */
  async close (): Promise<void> {
    this.#closed = true
    await this.#writing
  }

  async #write (): Promise<void> {
    await Promise.resolve() // lets every caller of this turn join the first batch
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, this.#options.maxBatch)
      await this.#writeBatch(batch)
    }
    this.#writing = undefined
  }

  async #writeBatch (batch: readonly Waiting<Item, Result>[]): Promise<void> {
    const { commit, committed, isOfOne } = this.#options
    const items = batch.map(({ item }) => item)
    const written = await Promise.try(commit, items).then((results) => ({ results }), (error: unknown) => ({ error }))
    if ('error' in written && batch.length > 1 && isOfOne?.(written.error) === true) {
      const middle = Math.ceil(batch.length / 2)
      for (const half of [batch.slice(0, middle), batch.slice(middle)]) await this.#writeBatch(half)
      return
    }
    try {
      if ('error' in written) throw written.error
      committed?.(items, written.results)
      for (const [index, { resolve, reject }] of batch.entries()) {
        const result = written.results[index]
        if (result === undefined) reject(new ThreadlineError('THREADLINE_INTERNAL'))
        else resolve(result)
      }
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
  }
}
