import type { Span } from '@opentelemetry/api'
import { ThreadlineError } from '../errors.ts'
import type { HandlerConnection } from '../handlers/handler.ts'
import type { ServerEvent } from '../protocol/events.ts'
import type { Announcements } from './announcements.ts'
import { createEvent } from './create-event.ts'
import { adoptRun } from './handler-connection.ts'
import type { ThreadMembership } from './thread-membership.ts'

export interface RequestConnectionOptions {
  readonly announcements: Announcements
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
export function createRequestConnection ({ announcements, membership, received, replyTo, replied }: RequestConnectionOptions): HandlerConnection {
  return {
    reply: (type, payload) => { replied(createEvent(type, payload, { replyTo })) },
    tellOthers: (type, payload) => { announcements.toUser(type, payload) },
    tellThread: (type, payload) => { announcements.toThread(type, payload) },
    hasThread: true,
    enter: async () => {},
    adopt: (stored, fn) => adoptRun(received, stored, fn),
    vacate: () => { membership.vacate() },
    resume: async () => { throw new ThreadlineError('THREADLINE_BAD_REQUEST', 'Only a connection can be resumed') },
    renew: async () => { throw new ThreadlineError('THREADLINE_BAD_REQUEST', 'Only a connection takes another token') }
  }
}
