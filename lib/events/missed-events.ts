import { context, ROOT_CONTEXT } from '@opentelemetry/api'
import { enterThread } from '../context/current-thread.ts'
import { createIdentity } from '../context/identity.ts'
import type { Logger } from '../context/logger.ts'
import { isThreadlineError } from '../errors.ts'
import type { ThreadEvent } from '../protocol/events.ts'
import type { ThreadId, UserId } from '../protocol/ids.ts'
import type { EventStore } from '../stores/event-store.ts'
import type { FollowedThread } from './followed-thread.ts'

export interface MissedEventsOptions {
  readonly store: Pick<EventStore, 'read'>
  readonly logger: Logger
  /** Takes events in order; those that were told meanwhile among them. */
  readonly tell: (followed: FollowedThread, event: ThreadEvent) => void
  readonly isFollowed: (followed: FollowedThread) => boolean
}

const pageSize = 256
/** Reads at the same time, so that those who commit find connections to the database as well. */
const concurrency = 4

/**
 * Reads what was stored elsewhere and not told here: each thread in the name of its owner, a page at a time, one read of a thread at a time. What cannot be
 * read is left until it is wanted again.
 */
export class MissedEvents {
  readonly #options: MissedEventsOptions
  readonly #wanted = new Set<FollowedThread>()
  readonly #reading = new Map<FollowedThread, Promise<void>>()
  #failing = false

  constructor (options: MissedEventsOptions) {
    this.#options = options
  }

  /** The last read has failed. */
  get failing (): boolean { return this.#failing }

  want (followed: FollowedThread): void {
    if (!followed.cursor.isBehind) return
    this.#wanted.add(followed)
    context.with(ROOT_CONTEXT, () => { this.#next() })
  }

  /** Resolves when nothing is read any more. */
  async close (): Promise<void> {
    this.#wanted.clear()
    await Promise.allSettled(this.#reading.values())
  }

  #next (): void {
    for (const followed of this.#wanted) {
      if (this.#reading.size >= concurrency) return
      if (this.#reading.has(followed)) continue
      this.#wanted.delete(followed)
      if (!this.#options.isFollowed(followed) || !followed.cursor.isBehind) continue
      this.#reading.set(followed, this.#read(followed))
    }
  }

  async #read (followed: FollowedThread): Promise<void> {
    try {
      await this.#readPage(followed)
      if (followed.cursor.isBehind) this.#wanted.add(followed) // behind those that wait already
      this.#failing = false
    } catch (err) {
      if (!this.#failing) this.#options.logger.warn({ err }, 'Events of other nodes cannot be read; they are asked for again')
      this.#failing = true
    } finally {
      this.#reading.delete(followed)
      this.#next()
    }
  }

  async #readPage (followed: FollowedThread): Promise<void> {
    const { threadId, cursor } = followed
    const { reader, position, target } = cursor
    if (reader === undefined || position === undefined) return
    const page = await this.#ask(threadId, reader, position)
    if (page === 'gone') cursor.giveUp()
    else if (page === 'expired') cursor.skipTo(target)
    else for (const event of page) if (event.thread_id === threadId && event.user_id === reader) this.#options.tell(followed, event)
    if (cursor.position === position) cursor.giveUp() // nothing comes of asking at once again
  }

  async #ask (threadId: ThreadId, userId: UserId, after: number): Promise<readonly ThreadEvent[] | 'expired' | 'gone'> {
    try {
      return await enterThread(createIdentity({ userId, threadId }), async () => await this.#options.store.read(threadId, after, pageSize))
    } catch (error) {
      if (isThreadlineError(error, 'THREADLINE_THREAD_NOT_FOUND')) return 'gone'
      throw error
    }
  }
}
