import type { Span } from '@opentelemetry/api'
import { currentThread } from '../context/current-thread.ts'
import { ThreadlineError } from '../errors.ts'
import type { HandlerConnection } from '../handlers/handler.ts'
import type { ServerEvent } from '../protocol/events.ts'
import type { ConnectionRegistry } from './connection-registry.ts'
import { createEvent } from './create-event.ts'
import { adoptRun } from './handler-connection.ts'
import type { ThreadMembership } from './thread-membership.ts'
import { writeToAll } from './write-event.ts'

export interface RequestConnectionOptions {
  readonly registry: ConnectionRegistry
  readonly membership: ThreadMembership
  /** The span of the request; undefined when nobody records it. */
  readonly received: Span | undefined
  /** The client's own id of what it asks for. */
  readonly replyTo: string | undefined
  /** Takes what the handler answers, in its order. */
  readonly replied: (event: ServerEvent) => void
}

/**
 * A request without a connection, as the handler of its command sees it: what is answered is collected, the others are all of the user's
 * connections, and there is nothing that could be in a thread.
 */
export function createRequestConnection ({ registry, membership, received, replyTo, replied }: RequestConnectionOptions): HandlerConnection {
  return {
    reply: (type, payload) => { replied(createEvent(type, payload, { replyTo })) },
    tellOthers: (type, payload) => {
      writeToAll(registry.getUserConnections(), createEvent(type, payload, { threadId: null }))
    },
    tellThread: (type, payload) => {
      writeToAll(registry.getUserConnectionsByThread(currentThread().threadId), createEvent(type, payload))
    },
    hasThread: true,
    enter: async () => {},
    adopt: (stored, fn) => adoptRun(received, stored, fn),
    vacate: () => { membership.vacate() },
    resume: async () => { throw new ThreadlineError('THREADLINE_BAD_REQUEST', 'Only a connection can be resumed') },
    renew: async () => { throw new ThreadlineError('THREADLINE_BAD_REQUEST', 'Only a connection takes another token') }
  }
}
