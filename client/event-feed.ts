import { ThreadlineClientError } from './client-error.ts'
import type { ThreadlineEvent } from './threadline-event.ts'

export interface EventsOptions {
  /** Events that wait for a reader that is slower than the server. 1,024 when absent. */
  readonly maxBuffered?: number
  /** Ends the iteration with `CLIENT_ABORTED`. */
  readonly signal?: AbortSignal
}

/** The events of one reader, from the call of `events()` on. */
export type EventIterator = AsyncIterableIterator<ThreadlineEvent, undefined, undefined>

/**
 * Hands every event to every reader. A reader whose buffer is full gets what is in it and then a `CLIENT_BUFFER_FULL`
 * error: nothing is dropped in silence, and no other reader waits for it.
 */
export class EventFeed {
  readonly #readers = new Set<Reader>()
  #end: { readonly error: ThreadlineClientError | undefined } | undefined

  read ({ maxBuffered = 1024, signal }: EventsOptions = {}): EventIterator {
    const abort = (): void => { reader.end(new ThreadlineClientError('CLIENT_ABORTED', { cause: signal?.reason })) }
    const reader = new Reader(maxBuffered, () => {
      this.#readers.delete(reader)
      signal?.removeEventListener('abort', abort)
    })
    this.#readers.add(reader)
    signal?.addEventListener('abort', abort)
    if (this.#end !== undefined) reader.end(this.#end.error)
    if (signal?.aborted === true) abort()
    return reader
  }

  push (event: ThreadlineEvent): void {
    for (const reader of this.#readers) reader.push(event)
  }

  /** Readers get what they have buffered, then the end or `error`. So do readers that come later. */
  end (error?: ThreadlineClientError): void {
    this.#end ??= { error }
    for (const reader of this.#readers) reader.end(error)
  }
}

interface Waiting {
  readonly resolve: (result: IteratorResult<ThreadlineEvent, undefined>) => void
  readonly reject: (error: ThreadlineClientError) => void
}

class Reader implements EventIterator {
  readonly #maxBuffered: number
  readonly #leave: () => void
  readonly #buffer: ThreadlineEvent[] = []
  readonly #waiting: Waiting[] = []
  #ended = false
  #error: ThreadlineClientError | undefined

  constructor (maxBuffered: number, leave: () => void) {
    this.#maxBuffered = maxBuffered
    this.#leave = leave
  }

  push (event: ThreadlineEvent): void {
    const next = this.#waiting.shift()
    if (next !== undefined) return next.resolve({ done: false, value: event })
    if (this.#buffer.length >= this.#maxBuffered) return this.end(new ThreadlineClientError('CLIENT_BUFFER_FULL'))
    this.#buffer.push(event)
  }

  end (error?: ThreadlineClientError): void {
    if (this.#ended) return
    this.#ended = true
    this.#error = error
    this.#leave()
    for (const waiting of this.#waiting.splice(0)) this.#settle(waiting)
  }

  next (): Promise<IteratorResult<ThreadlineEvent, undefined>> {
    return new Promise((resolve, reject) => {
      const waiting = { resolve, reject }
      const value = this.#buffer.shift()
      if (value !== undefined) return resolve({ done: false, value })
      if (this.#ended) return this.#settle(waiting)
      this.#waiting.push(waiting)
    })
  }

  return (): Promise<IteratorResult<ThreadlineEvent, undefined>> {
    this.#buffer.length = 0
    this.end()
    return Promise.resolve({ done: true, value: undefined })
  }

  [Symbol.asyncIterator] (): EventIterator {
    return this
  }

  /** The error is told once; after it, as after any end, the iteration is just over. */
  #settle ({ resolve, reject }: Waiting): void {
    const error = this.#error
    this.#error = undefined
    if (error === undefined) resolve({ done: true, value: undefined })
    else reject(error)
  }
}
