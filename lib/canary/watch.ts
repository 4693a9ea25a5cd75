import type { SpanContext } from '@opentelemetry/api'
import type { Violation } from '../context/guard.ts'
import type { Logger } from '../context/logger.ts'
import { parseTraceparent } from '../context/traceparent.ts'
import type { SentEvent } from '../gateway/sent-events.ts'
import type { ServerEvent } from '../protocol/events.ts'
import type { ConnectionId, ThreadId, UserId } from '../protocol/ids.ts'
import { isCanary } from './canary-users.ts'
import { raiseCrossing, type Crossing } from './crossing.ts'
import { markersIn } from './markers.ts'

/** The only place where a canary's marker may be found. */
export interface Home {
  readonly userId: UserId
  readonly threadId: ThreadId
  readonly connectionId: ConnectionId
  readonly marker: string
}

/** Homes of rounds that are over are remembered, because what was kept somewhere can also be told too late. */
const maxHomes = 256

/** Knows where the canaries live, and looks at everything that leaves this node. It throws nothing. */
export class Watch {
  readonly #logger: Logger
  readonly #byMarker = new Map<string, Home>()
  readonly #byThread = new Map<ThreadId, Home>()
  #crossings = 0

  constructor (logger: Logger) {
    this.#logger = logger
  }

  /** How many crossings were raised so far. */
  get crossings (): number { return this.#crossings }

  settle (home: Home): void {
    this.#byMarker.set(home.marker, home)
    this.#byThread.set(home.threadId, home)
    const [oldest] = this.#byMarker.values()
    if (oldest === undefined || this.#byMarker.size <= maxHomes) return
    this.#byMarker.delete(oldest.marker)
    this.#byThread.delete(oldest.threadId)
  }

  /** An event as it was written to a connection, whosever that is. What was written is looked at, and what it was said to be. */
  readonly sent = ({ connection, event, frame }: SentEvent): void => {
    const { connectionId, userId: foundAt } = connection
    for (const marker of markersIn(frame)) {
      const home = this.#byMarker.get(marker)
      if (home === undefined || (home.connectionId === connectionId && home.threadId === connection.threadId)) continue
      return this.raise({ where: 'frame', what: event.type, canary: home.userId, threadId: home.threadId, foundAt, connectionId }, spanOf(event))
    }
    const home = event.thread_id === null ? undefined : this.#byThread.get(event.thread_id)
    if (home !== undefined && home.connectionId !== connectionId) {
      this.raise({ where: 'frame', what: event.type, canary: home.userId, threadId: home.threadId, foundAt, connectionId }, spanOf(event))
    } else if (isCanary(event.user_id) && event.user_id !== foundAt) {
      this.raise({ where: 'frame', what: event.type, canary: event.user_id, foundAt, connectionId }, spanOf(event))
    }
  }

  /** The body of an answer over HTTP, which no canary asks for. */
  readonly responded = (route: string, body: string): void => {
    for (const marker of markersIn(body)) {
      const home = this.#byMarker.get(marker)
      if (home !== undefined) this.raise({ where: 'response', what: route, canary: home.userId, threadId: home.threadId })
    }
  }

  /** Nothing that a canary does is refused by the guard, and nobody else has to do with what is a canary's. */
  readonly violated = (violation: Violation): void => {
    const { owner, identity, place } = violation
    const canary = [owner.userId, identity?.userId].find((userId) => isCanary(userId))
    if (canary !== undefined) this.raise({ where: 'guard', what: place, canary, threadId: owner.threadId ?? undefined, foundAt: identity?.userId })
  }

  raise (crossing: Crossing, found?: SpanContext): void {
    this.#crossings += 1
    raiseCrossing(crossing, this.#logger, found)
  }
}

/** Of the trace in which the event was told. */
export function spanOf ({ traceparent }: Pick<ServerEvent, 'traceparent'>): SpanContext | undefined {
  return parseTraceparent(traceparent)
}
