import { trace, type Span } from '@opentelemetry/api'
import { currentIdentity, enterWithin, identityAttributes } from '../context/current-thread.ts'
import { createIdentity } from '../context/identity.ts'
import { ThreadlineError } from '../errors.ts'
import type { HandlerConnection } from '../handlers/handler.ts'
import type { RunId, ThreadId, UserId } from '../protocol/ids.ts'
import type { Storage } from '../stores/storage.ts'
import type { Announcements } from './announcements.ts'
import type { Connection } from './connection.ts'
import { createEvent } from './create-event.ts'
import { resume } from './resume.ts'
import type { Subscriptions } from './subscriptions.ts'
import type { ThreadMembership } from './thread-membership.ts'
import { writeAsHop } from './write-event.ts'

export interface HandlerConnectionOptions {
  readonly connection: Connection
  readonly announcements: Announcements
  readonly membership: ThreadMembership
  readonly subscriptions: Subscriptions
  readonly storage: Storage
  readonly replyTo: string | undefined
  /** The span of the frame. */
  readonly received: Span
  readonly verifyToken: (token: string) => Promise<{ readonly userId: UserId, readonly expiresAt: Date }>
  readonly renewed: (expiresAt: Date) => void
}

/** The connection as the handler of one command sees it. */
export function createHandlerConnection (options: HandlerConnectionOptions): HandlerConnection {
  const { connection, announcements, membership, replyTo } = options
  const reply: HandlerConnection['reply'] = (type, payload) => {
    // The thread that a refused message would have made does not exist.
    const unmade = type === 'error' && currentIdentity().data['new_thread'] === true
    writeAsHop(connection, createEvent(type, payload, { replyTo, ...(unmade ? { threadId: null } : {}) }))
  }

  return {
    reply,
    tellOthers: (type, payload) => { announcements.toUser(type, payload, connection) },
    tellThread: (type, payload) => { announcements.toThread(type, payload, connection) },
    get hasThread () { return connection.threadId !== undefined },
    enter: (prepare) => membership.enter(connection, prepare),
    adopt: (stored, fn) => adoptRun(options.received, stored, fn),
    vacate: () => { membership.vacate() },
    resume: (position) => resume(connection, position, { ...options, answer: reply }),
    renew: async (token) => {
      const caller = await options.verifyToken(token)
      if (caller.userId !== currentIdentity().userId) throw new ThreadlineError('THREADLINE_SENDER_MISMATCH')
      options.renewed(caller.expiresAt)
      return caller.expiresAt
    }
  }
}

/**
 * Goes on in the thread and run of a message that had been accepted before: the identity under which the command came is put right, and
 * with it the active span and `received`, that of the command.
 */
export function adoptRun<T> (received: Span | undefined, { threadId, runId }: { readonly threadId: ThreadId, readonly runId: RunId }, fn: () => T): T {
  const { userId, requestId, connectionId } = currentIdentity()
  const identity = createIdentity({ userId, requestId, connectionId, threadId, runId })
  for (const span of [received, trace.getActiveSpan()]) span?.setAttributes(identityAttributes(identity))
  return enterWithin(identity, fn)
}
