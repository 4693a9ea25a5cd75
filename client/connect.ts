import type { CommandType } from '../lib/protocol/commands.ts'
import type { AnswerTo, CommandToSend } from './answers.ts'
import { ThreadlineClientError } from './client-error.ts'
import { systemClock } from './clock.ts'
import { EventFeed, type EventIterator, type EventsOptions } from './event-feed.ts'
import { Link, type LinkOptions } from './link.ts'
import { PendingCommands } from './pending-commands.ts'
import { defaultReconnectPolicy } from './reconnect-policy.ts'
import { SequenceFilter, type Position } from './sequence-filter.ts'
import { socketUrl, type Start } from './socket.ts'
import type { ClientStatus, ConnectOptions, SendOptions, ThreadlineClient } from './threadline-client.ts'
import type { ThreadlineEvent } from './threadline-event.ts'

/**
 * Connects to a Threadline service and stays connected; what that means is told at `ThreadlineClient`.
 * Returns at once. Throws a `TypeError` for a `url` that is none.
 */
export function connectThreadline (options: ConnectOptions): ThreadlineClient {
  socketUrl(options.url, { threadId: null })
  return new Client(options)
}

class Client implements ThreadlineClient {
  readonly #options: ConnectOptions
  readonly #link: Link
  readonly #pending: PendingCommands
  readonly #feed = new EventFeed()
  readonly #sequences = new SequenceFilter()
  readonly #ready = Promise.withResolvers<void>()
  #threadId: string | null
  #userId: string | null = null
  #connectionId: string | null = null
  /** That of the server, as the newest connection was told. */
  #epoch: string | undefined
  /** From where the server was asked to tell again what this connection has missed. */
  #resumedFrom: Position | undefined
  /** Set when it is over; what every later `send` is told. */
  #end: ThreadlineClientError | undefined
  #closing: Promise<void> | undefined

  constructor (options: ConnectOptions) {
    this.#options = options
    this.#threadId = options.threadId ?? null
    this.#pending = new PendingCommands({ clock: options.clock ?? systemClock, maxPending: options.maxPending ?? 256 })
    this.#link = new Link(linkOptions(options), {
      start: () => this.#start(),
      receive: (event) => { this.#receive(event) },
      lost: () => { this.#pending.connectionLost() },
      stopped: (error) => { this.#stopped(error) },
      status: (status) => { this.#status(status) }
    })
    this.#ready.promise.catch(() => {}) // whoever does not wait for it learns the same from `onStatus`, `send` and `events`
    options.signal?.addEventListener('abort', this.#abort)
    if (options.signal?.aborted === true) this.#abort()
    else void this.#link.connect()
  }

  get ready (): Promise<void> { return this.#ready.promise }
  get threadId (): string | null { return this.#threadId }
  get userId (): string | null { return this.#userId }
  get connectionId (): string | null { return this.#connectionId }

  send<Name extends CommandType> (command: CommandToSend<Name>, options: SendOptions = {}): Promise<AnswerTo<Name>> {
    if (this.#end !== undefined) return Promise.reject(this.#end)
    const answer = this.#pending.add(command, {
      thread: this.#threadId,
      timeoutMs: options.timeoutMs ?? this.#options.sendTimeoutMs ?? 15_000,
      resend: options.resend ?? this.#options.resend ?? false,
      signal: options.signal
    })
    this.#flush()
    return answer
  }

  events (options?: EventsOptions): EventIterator {
    return this.#feed.read(options)
  }

  close (): Promise<void> {
    this.#closing ??= this.#link.close(undefined)
    return this.#closing
  }

  readonly #abort = (): void => {
    this.#closing ??= this.#link.close(new ThreadlineClientError('CLIENT_ABORTED', { cause: this.#options.signal?.reason }))
  }

  #start (): Start {
    this.#resumedFrom = this.#threadId === null ? undefined : this.#sequences.position(this.#threadId)
    return { threadId: this.#threadId, position: this.#resumedFrom, replaces: this.#connectionId ?? undefined }
  }

  #receive (event: ThreadlineEvent): void {
    if (event.type === 'connection_established') return this.#established(event)
    if (!this.#sequences.admit(event)) return
    this.#follow(event)
    this.#tell(event)
    this.#pending.answer(event)
  }

  #established (event: ThreadlineEvent<'connection_established'>): void {
    const { user_id: userId, thread_id: threadId, connection_id: connectionId } = event.payload
    const reconnected = this.#userId !== null
    if (reconnected && userId !== this.#userId) {
      void this.#link.close(new ThreadlineClientError('CLIENT_IDENTITY_CHANGED'))
      return
    }
    const missed = threadId === null ? null : this.#missed(threadId, event.payload)
    this.#userId = userId
    this.#connectionId = connectionId
    this.#threadId = threadId
    this.#epoch = event.payload.epoch
    this.#tell(event)
    if (this.#end !== undefined) return // closed by `onEvent`
    this.#status({ state: 'ready', threadId, reconnected, missed })
    this.#ready.resolve()
    this.#flush()
  }

  /** What is told again moves the position by itself; were it moved now, a drop in the middle would lose the rest. */
  #missed (threadId: string, at: { readonly sequence: number, readonly epoch: string }): number | null {
    const from = this.#resumedFrom
    if (from === undefined) return this.#sequences.moveTo(threadId, at)
    return from.epoch === at.epoch ? Math.max(0, at.sequence - from.after) : null
  }

  /** Which thread the connection is in after this event. */
  #follow (event: ThreadlineEvent): void {
    switch (event.type) {
      case 'thread_switched':
        this.#threadId = event.payload.thread.thread_id
        this.#sequences.moveTo(this.#threadId, event.payload)
        break
      case 'resumed':
      case 'resync_required':
        if (event.thread_id === null) break
        this.#threadId = event.thread_id
        if (event.type === 'resumed') this.#sequences.moveTo(event.thread_id, event.payload)
        else this.#sequences.restartAt(event.thread_id, event.payload)
        break
      case 'thread_created': // also told of a thread that another tab made, and of one that was made without being entered
        if (this.#pending.isMovedBy(event)) this.#opened(event.payload.thread_id)
        break
      case 'message_accepted':
      case 'run_created': // a connection without a thread is put into that of its message, also one that had been accepted before
        if (this.#threadId !== null || event.thread_id === null || event.reply_to === undefined) break
        if (this.#pending.isWrittenNowhere(event)) this.#opened(event.thread_id)
        else this.#threadId = event.thread_id
        break
      case 'thread_deleted':
        if (event.payload.thread_id === this.#threadId) this.#threadId = null
        break
      default:
    }
  }

  /** The connection is in a thread that one of its own messages has opened: after a drop, all of it is still to be told. */
  #opened (threadId: string): void {
    this.#threadId = threadId
    if (this.#epoch !== undefined) this.#sequences.moveTo(threadId, { sequence: 0, epoch: this.#epoch })
  }

  #flush (): void {
    this.#pending.flush(this.#threadId, (text) => this.#link.transmit(text))
  }

  #tell (event: ThreadlineEvent): void {
    callSafely(this.#options.onEvent, event)
    this.#feed.push(event)
  }

  #status (status: ClientStatus): void {
    callSafely(this.#options.onStatus, status)
  }

  #stopped (error: ThreadlineClientError | undefined): void {
    this.#end = error ?? new ThreadlineClientError('CLIENT_CLOSED')
    this.#options.signal?.removeEventListener('abort', this.#abort)
    this.#pending.failAll(this.#end)
    this.#ready.reject(this.#end)
    this.#feed.end(error)
  }
}

function linkOptions (options: ConnectOptions): LinkOptions {
  const { token, getToken } = options
  return {
    url: options.url,
    WebSocket: options.WebSocket ?? globalThis.WebSocket,
    getToken: getToken ?? (() => Promise.resolve(token)),
    canRenew: getToken !== undefined,
    policy: { ...defaultReconnectPolicy, ...options.reconnect },
    connectTimeoutMs: options.connectTimeoutMs ?? 10_000,
    heartbeatMs: options.heartbeatMs ?? 25_000,
    clock: options.clock ?? systemClock,
    random: options.random ?? Math.random
  }
}

/** A callback that throws must neither stop the others nor leave the client half changed; its error still reaches the process. */
function callSafely<Value> (callback: ((value: Value) => void) | undefined, value: Value): void {
  try {
    callback?.(value)
  } catch (error) {
    queueMicrotask(() => { throw error })
  }
}
