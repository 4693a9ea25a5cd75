import { createCounter } from '../context/instruments.ts'
import type { Logger } from '../context/logger.ts'
import { metricDefinitions } from '../context/metric-definitions.ts'
import type { ThreadId } from '../protocol/ids.ts'
import type { EventStore, LogEnd } from '../stores/event-store.ts'
import type { FollowedThread } from './followed-thread.ts'

const polled = createCounter(metricDefinitions.polledEvents)

/** Asks the database how far the logs of threads reach, all in one question, and says it to their cursors. What it does not know has been deleted. */
export class PositionQuestion {
  readonly #store: Pick<EventStore, 'positions'>
  readonly #logger: Logger
  #failing = false

  constructor (store: Pick<EventStore, 'positions'>, logger: Logger) {
    this.#store = store
    this.#logger = logger
  }

  /** The last question has had no answer. */
  get failing (): boolean { return this.#failing }

  /** Gives the threads that are no more, each once. Does not reject. */
  async ask (threads: ReadonlyMap<ThreadId, FollowedThread>): Promise<readonly FollowedThread[]> {
    const followed = [...threads.values()]
    try {
      const asked = followed.flatMap(({ threadId, users }) => [...users].map((userId) => ({ userId, threadId })))
      const positions = await this.#store.positions(asked)
      for (const [threadId, end] of positions) found(threads.get(threadId), end)
      this.#failing = false
      return followed.filter((thread) => thread.isGone(positions.has(thread.threadId)))
    } catch (err) {
      if (!this.#failing) this.#logger.warn({ err }, 'The positions of threads cannot be read; they are asked for again')
      this.#failing = true
      return []
    }
  }
}

// In the name of its owner: whoever else is about to enter the thread, and will be refused, can read nothing of it.
function found (thread: FollowedThread | undefined, { userId, sequence }: LogEnd): void {
  if (thread === undefined) return
  const { cursor } = thread
  if (cursor.position === undefined) {
    cursor.assume(sequence)
    cursor.reach(userId, sequence) // a follower that knows less need not wait for the next question
  }
  if (sequence <= cursor.known) return
  polled.add(sequence - cursor.known)
  cursor.reach(userId, sequence)
}
