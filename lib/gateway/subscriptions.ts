import { currentIdentity } from '../context/current-thread.ts'
import type { Logger } from '../context/logger.ts'
import type { EventLog, Unfollow } from '../events/event-log.ts'
import type { ThreadEvent } from '../protocol/events.ts'
import type { ThreadId, UserId } from '../protocol/ids.ts'
import type { Connection, Hold } from './connection.ts'
import type { Presence } from './presence.ts'
import { replay, type Replayed, type ReplayRange } from './replay.ts'
import { whileStorageIsAway } from './storage-absence.ts'
import { sendAsHop } from './write-event.ts'

/** `queued`: nobody was there; the event is in the log, and waits for whoever comes. */
export type Delivery = 'delivered' | 'queued'

export interface SubscriptionsOptions {
  readonly log: EventLog
  readonly logger: Logger
  /** Is told which threads are followed here. */
  readonly presence?: Pick<Presence, 'follow' | 'unfollow'> | undefined
  /** Bytes that are written to a connection before it is waited for, when it is sent what it has missed. */
  readonly replayBytes: number
  /** How long a connection may take to let them go. */
  readonly replayTimeoutMs: number
}

/** The connections of one user that are in a thread, or about to be. */
interface Audience { readonly connections: Set<Connection>, readonly unfollow: Unfollow }

type Key = `${UserId} ${ThreadId}`

/**
 * Which threads this node follows, and the way of their events to the connections that are in them. Asked in the identity of the
 * connection, or of the event: another user's connections are not there.
 */
export class Subscriptions {
  readonly #options: SubscriptionsOptions
  readonly #audiences = new Map<Key, Audience>()

  /** Called in the identity of a thread of which nobody has told that it is no more. */
  whenGone: () => void = () => {}

  constructor (options: SubscriptionsOptions) {
    this.#options = options
  }

  get size (): number { return this.#audiences.size }

  join (connection: Connection, threadId: ThreadId): void {
    const audience = this.#audiences.get(keyOf(threadId)) ?? this.#follow(threadId)
    audience.connections.add(connection)
  }

  /** Leaving a thread that one is not in does nothing. */
  leave (connection: Connection, threadId: ThreadId): void {
    const audience = this.#audiences.get(keyOf(threadId))
    if (audience?.connections.delete(connection) !== true || audience.connections.size > 0) return
    audience.unfollow()
    this.#audiences.delete(keyOf(threadId))
    this.#options.presence?.unfollow(threadId)
  }

  /** Whoever has joined the thread knows it up to a sequence that was read since. */
  stand (threadId: ThreadId, sequence: number): void { this.#options.log.stand(threadId, sequence) }

  /** The thread is no more: nothing of it is kept at hand. */
  forget (threadId: ThreadId): void { this.#options.log.forget(threadId) }

  /** Tells an event of the active identity to its thread's connections on this node. One that fails does not hinder the others. */
  deliver (event: ThreadEvent): Delivery {
    const audience = this.#audiences.get(keyOf(event.thread_id))
    if (audience === undefined) return 'queued'
    const frame = JSON.stringify(event)
    let delivery: Delivery = 'queued'
    for (const connection of audience.connections) {
      if (this.#offer(connection, event, frame)) delivery = 'delivered'
    }
    return delivery
  }

  /** Ends the holding back of a thread's events: those that the connection has not been sent follow now. */
  release (connection: Connection, hold: Hold): void {
    for (const send of connection.release(hold)) send()
  }

  /** Sends a connection stored events of the active thread, marked as replayed, while live ones are held back. */
  async replay (connection: Connection, hold: Hold, range: ReplayRange): Promise<Replayed> {
    return await this.#replay(connection, hold, range, (event) => ({ ...event, replayed: true }))
  }

  /**
   * True when the event has left for the client, or is not for it. A dead one is cut off, which ends its connection; one that is being closed
   * has its time.
   */
  send (connection: Connection, event: ThreadEvent, frame: string): boolean {
    if (!connection.hears(event)) {
      connection.passOver(event)
      return true
    }
    try {
      const sent = event.type === 'agent_delta'
        ? connection.writeThreadEvent(event, frame)
        : sendAsHop(connection, event, () => connection.writeThreadEvent(event, frame))
      if (sent === 'dead' && connection.active) connection.terminate()
      return sent === 'sent'
    } catch (err) {
      this.#options.logger.error({ err, event_id: event.event_id, connection_id: connection.connectionId }, 'an event was not delivered')
      return false
    }
  }

  /** True when the connection has the event, or will have it. */
  #offer (connection: Connection, event: ThreadEvent, frame: string): boolean {
    if (connection.holdBack(event, () => { this.#offer(connection, event, frame) })) return true
    const told = connection.told(event.thread_id)
    if (told === undefined) return false
    if (event.sequence <= told.to) return true
    if (event.sequence === told.to + 1 || !connection.active) return this.send(connection, event, frame)
    this.#catchUp(connection, event, frame).catch((err: unknown) => { this.#options.logger.error({ err }, 'a connection failed') })
    return true
  }

  /**
   * Events before this one were not told here, or will be told late: they are read from the log, and this one waits for them. The connection
   * outlives a storage that is away.
   */
  async #catchUp (connection: Connection, event: ThreadEvent, frame: string): Promise<void> {
    const { thread_id: threadId, sequence } = event
    const hold = connection.hold(threadId)
    connection.holdBack(event, () => { this.#offer(connection, event, frame) })
    try {
      await whileStorageIsAway(() => connection.active && connection.holds(hold), async () => {
        const after = connection.told(threadId)?.to ?? sequence
        const { outcome } = await this.#replay(connection, hold, { after, upTo: sequence - 1 }, (missed) => missed)
        if (outcome === 'expired') connection.close('internal')
      })
    } catch (err) {
      connection.close('internal') // the client resumes from where it was
      throw err
    } finally {
      this.release(connection, hold)
    }
  }

  async #replay (connection: Connection, hold: Hold, range: ReplayRange, mark: (event: ThreadEvent) => ThreadEvent): Promise<Replayed> {
    const { log, replayBytes: chunkBytes, replayTimeoutMs: timeoutMs } = this.#options
    const send = (event: ThreadEvent): number => {
      const marked = mark(event)
      const frame = JSON.stringify(marked)
      return this.send(connection, marked, frame) ? Buffer.byteLength(frame) : 0
    }
    return await replay(range, { connection, hold, log, send, chunkBytes, timeoutMs })
  }

  #follow (threadId: ThreadId): Audience {
    const unfollow = this.#options.log.follow(threadId, (event) => { this.deliver(event) }, () => { this.whenGone() })
    const audience = { connections: new Set<Connection>(), unfollow }
    this.#audiences.set(keyOf(threadId), audience)
    this.#options.presence?.follow(threadId)
    return audience
  }
}

function keyOf (threadId: ThreadId): Key { return `${currentIdentity().userId} ${threadId}` }
