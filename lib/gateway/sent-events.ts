import type { Logger } from '../context/logger.ts'
import type { ServerEvent } from '../protocol/events.ts'
import type { ConnectionId, ThreadId, UserId } from '../protocol/ids.ts'

export interface Recipient {
  readonly connectionId: ConnectionId
  readonly userId: UserId
  readonly threadId: ThreadId | undefined
}

/** An event that was written to a connection. */
export interface SentEvent {
  /** Whose connection it is, and in which thread it was at that moment. */
  readonly connection: Recipient
  readonly event: ServerEvent
  /** What was written: the event as JSON. */
  readonly frame: string
}

/** Called in the context in which the event was written, before the next one is. */
export type SentEventListener = (sent: SentEvent) => void

/** Who wants to know of each event that leaves this node, whosever it is: witnesses of isolation. One that throws is logged, and hinders nobody. */
export class SentEvents {
  readonly #listeners = new Set<SentEventListener>()
  readonly #logger: Logger

  constructor (logger: Logger) {
    this.#logger = logger
  }

  listen (listener: SentEventListener): () => void {
    this.#listeners.add(listener)
    return () => { this.#listeners.delete(listener) }
  }

  tell (connection: Recipient, event: ServerEvent, frame: string): void {
    for (const listener of this.#listeners) {
      try {
        listener({ connection, event, frame })
      } catch (err) {
        this.#logger.error({ err }, 'a listener to sent events failed')
      }
    }
  }
}
