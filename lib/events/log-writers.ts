import type { Identity } from '../context/identity.ts'
import { isThreadlineError } from '../errors.ts'
import type { ThreadEvent } from '../protocol/events.ts'
import type { ThreadId } from '../protocol/ids.ts'
import type { Appended, AppendedEvent, EventStore } from '../stores/event-store.ts'
import { GroupCommit } from './group-commit.ts'

/** What is appended, with the identity in which it will be told. */
export interface Item extends AppendedEvent { readonly identity: Identity }

/** What became of it: the event in its place, or why it has none. */
export type Placed = ThreadEvent | RefusedAppend
export type RefusedAppend = Extract<Appended, { readonly refused: unknown }>

export interface LogWritersOptions {
  readonly store: Pick<EventStore, 'append' | 'batchesAtOnce'>
  readonly epoch: string
  /** Told after each commit, before those who append are. */
  readonly committed: (batch: readonly Item[], placed: readonly Placed[]) => void
  readonly maxBatch: number
  /** Of all writers together. */
  readonly maxWaiting: number
}

/**
 * Writes events of all threads in groups, as many groups at once as the store takes well. A thread has one writer, so that its events keep their order. While the
 * database writes the batch of one, the next of another is made ready.
 */
export class LogWriters {
  readonly #first: GroupCommit<Item, Placed>
  readonly #writers: readonly GroupCommit<Item, Placed>[]

  constructor (options: LogWritersOptions) {
    const { store: { batchesAtOnce = 1 } } = options
    this.#first = newWriter(options, batchesAtOnce)
    this.#writers = [this.#first, ...Array.from({ length: batchesAtOnce - 1 }, () => newWriter(options, batchesAtOnce))]
  }

  /** Items that wait for their batch. */
  get waiting (): number { return this.#writers.reduce((waiting, writer) => waiting + writer.waiting, 0) }

  /** Resolves once it is stored or refused; rejects with what the store throws, and when too many wait. */
  append (item: Item): Promise<Placed> {
    return this.#writerOf(item.event.thread_id).add(item)
  }

  /** Resolves when everything handed in has been written or refused. Nothing can be handed in any more. */
  async close (): Promise<void> {
    await Promise.all(this.#writers.map(async (writer) => { await writer.close() }))
  }

  #writerOf (threadId: ThreadId): GroupCommit<Item, Placed> {
    return this.#writers[Number.parseInt(threadId.slice(-6), 16) % this.#writers.length] ?? this.#first
  }
}

function newWriter ({ store, epoch, committed, maxBatch, maxWaiting }: LogWritersOptions, writers: number): GroupCommit<Item, Placed> {
  return new GroupCommit({
    commit: async (batch) => place(batch, await store.append(batch), epoch),
    committed,
    // The storage is there, and does not take something that is in it.
    isOfOne: (error) => !isThreadlineError(error, 'THREADLINE_STORAGE_UNAVAILABLE'),
    maxBatch,
    maxWaiting: Math.ceil(maxWaiting / writers)
  })
}

function place (batch: readonly Item[], appended: readonly Appended[], epoch: string): readonly Placed[] {
  return appended.flatMap((outcome, index) => {
    const item = batch[index]
    if (item === undefined) return []
    return 'refused' in outcome ? outcome : { ...item.event, sequence: outcome.sequence, epoch }
  })
}
