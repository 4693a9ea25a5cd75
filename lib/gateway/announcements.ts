import { currentIdentity, currentThread, enterThread } from '../context/current-thread.ts'
import { createIdentity } from '../context/identity.ts'
import { parseTraceparent } from '../context/traceparent.ts'
import { ThreadlineError, toPublicError } from '../errors.ts'
import type { EventLog } from '../events/event-log.ts'
import { recentMessages } from '../handlers/recent-messages.ts'
import { isServerEvent } from '../protocol/decode-event.ts'
import type { EventType, PayloadOf, ServerEvent } from '../protocol/events.ts'
import type { ThreadId } from '../protocol/ids.ts'
import type { Storage } from '../stores/storage.ts'
import type { ConnectionRegistry } from './connection-registry.ts'
import type { Connection } from './connection.ts'
import { createEvent } from './create-event.ts'
import { guardClaim, type Content, type Relay } from './relay.ts'
import { writeAsHop, writeToAll } from './write-event.ts'

export interface AnnouncementsOptions {
  readonly registry: ConnectionRegistry
  readonly relay: Relay
  readonly log: Pick<EventLog, 'forget'>
  readonly storage: Storage
}

/**
 * What a user's connections are told besides the log, on this node and on the others: it is not kept, and whoever is not there does not hear of it.
 * Another node is told the event as it is, or, where that could be long, that something has happened, and looks itself.
 */
export class Announcements {
  readonly #options: AnnouncementsOptions
  /** Threads whose branch is being read for another node's sake; true when it has changed since. */
  readonly #reading = new Map<ThreadId, boolean>()

  constructor (options: AnnouncementsOptions) {
    this.#options = options
    const { relay } = options
    relay.hear('user', 'told', (content) => { this.#told(content) })
    relay.hear('thread', 'told', (content) => { this.#told(content) })
    relay.hear('thread', 'branch_selected', (content) => this.#branchSelected(content))
    relay.hear('user', 'erased', (content) => { inNameOf(content, (event) => { this.#showOut(event) }) })
  }

  /** Tells all connections of the active user but one, whatever their thread. */
  toUser<Type extends EventType> (type: Type, payload: PayloadOf<Type>, except?: Connection): void {
    const event = createEvent(type, payload, { threadId: null })
    writeToAll(this.#audienceOf(event, except), event)
    this.#options.relay.send('told', { event })
  }

  /** Tells all connections of the active thread but one. */
  toThread<Type extends EventType> (type: Type, payload: PayloadOf<Type>, except?: Connection): void {
    const { threadId } = currentThread()
    const event = createEvent(type, payload)
    writeToAll(this.#audienceOf(event, except), event)
    if (type === 'branch_selected') this.#options.relay.send(type, { event: { ...event, payload: { messages: [], has_more: false } } }, threadId)
    else this.#options.relay.send('told', { event }, threadId)
  }

  /** Nothing is kept of the active user any more: all connections are shown out. */
  erased (): void {
    const goodbye = createEvent('error', toPublicError(new ThreadlineError('THREADLINE_UNAUTHENTICATED', 'All of this user was erased')), { threadId: null })
    this.#showOut(goodbye)
    this.#options.relay.send('erased', { event: goodbye })
  }

  #told (content: Content): void {
    inNameOf(content, (event) => { writeToAll(this.#audienceOf(event), event) })
  }

  /** The messages are read in the identity of the thread's owner. What is told last was read after everything that was heard of. */
  async #branchSelected (content: Content): Promise<void> {
    const { threadId } = currentThread()
    if (this.#reading.has(threadId)) return void this.#reading.set(threadId, true)
    this.#reading.set(threadId, false)
    try {
      await inNameOf(content, async (event) => {
        do {
          this.#reading.set(threadId, false)
          const recent = await recentMessages(this.#options.storage)
          if (this.#reading.get(threadId) === false) writeToAll(this.#audienceOf(event), createEvent('branch_selected', recent))
        } while (this.#reading.get(threadId) === true)
      })
    } finally {
      this.#reading.delete(threadId)
    }
  }

  #showOut (goodbye: ServerEvent): void {
    this.#options.log.forget()
    for (const connection of this.#options.registry.getUserConnections()) {
      writeAsHop(connection, goodbye)
      connection.close('notAuthenticated')
    }
  }

  #audienceOf ({ thread_id: threadId }: ServerEvent, except?: Connection): readonly Connection[] {
    const { registry } = this.#options
    const connections = threadId === null ? registry.getUserConnections() : registry.getUserConnectionsByThread(threadId)
    return [...connections].filter((connection) => connection !== except)
  }
}

/**
 * Works on an event that another node has told, in the name and in the trace of the request that it tells of. Throws, and does nothing, when it is no
 * event, has a place in a log, or is not of the active identity's user and thread.
 */
function inNameOf<T> ({ event }: Content, work: (event: ServerEvent) => T): T {
  if (!isServerEvent(event) || event.sequence !== undefined) throw new TypeError('It is not an event that another node could tell')
  guardClaim({ ...event })
  const { userId, threadId } = currentIdentity()
  const identity = createIdentity({ userId, threadId, requestId: event.request_id, runId: event.run_id })
  return enterThread(identity, () => work(event), { parent: parseTraceparent(event.traceparent) })
}
