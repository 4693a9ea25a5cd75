import type { SpanContext } from '@opentelemetry/api'
import { bindThread } from '../context/bind.ts'
import { guard } from '../context/guard.ts'
import { isThreadlineError } from '../errors.ts'
import type { CloseReason } from '../protocol/close-codes.ts'
import type { ServerEvent, ThreadEvent } from '../protocol/events.ts'
import type { ConnectionId, ThreadId, UserId } from '../protocol/ids.ts'
import { ConnectionLife, type ConnectionState } from './connection-state.ts'
import type { Outbox, Sent } from './outbox.ts'
import type { SentEvents } from './sent-events.ts'

export interface ConnectionOptions {
  readonly connectionId: ConnectionId
  readonly userId: UserId
  readonly threadId: ThreadId | undefined
  readonly outbox: Outbox
  /** The span of the handshake, to which each message's trace is linked. */
  readonly handshake: SpanContext
  /** Events of a thread that may be held back while the connection enters it, or catches up. */
  readonly maxHeld: number
  /** Which of the events that are meant for it the client listens to; all of them when absent. */
  readonly hears?: ((event: ServerEvent) => boolean) | undefined
  /** Told of each event that has left for the client. */
  readonly sentEvents?: SentEvents | undefined
}

/**
 * Why a connection has ended: what the server told the client, or `complete`, a stream that had told all; `silent`, a client that was not heard
 * any more; `client`, one that left or was lost.
 */
export type Ending = CloseReason | 'complete' | 'silent' | 'client'

/** `local` is a client within this process. */
export const transports = ['socket', 'stream', 'local'] as const
export type Transport = typeof transports[number]

/** Which events of its thread a connection has been sent: those after `from`, up to `to`. */
export interface Told { readonly from: number, readonly to: number }

/** Events of one thread that wait, each to be sent in its own context. */
export interface Hold { readonly threadId: ThreadId, readonly waiting: (() => void)[] }

/**
 * One client of one user, in at most one thread. Everything that is written to it passes `write`, which compares the connection's
 * owner, and for a thread's event its thread, with the active identity and with the event itself.
 */
export class Connection {
  readonly connectionId: ConnectionId
  readonly userId: UserId
  readonly connectedAt = new Date().toISOString()
  readonly handshake: SpanContext
  /** Changed by the connection registry alone. */
  threadId: ThreadId | undefined
  readonly #outbox: Outbox
  readonly #maxHeld: number
  readonly #hears: (event: ServerEvent) => boolean
  readonly #sentEvents: SentEvents | undefined
  readonly #life = new ConnectionLife()
  readonly #holds = new Map<ThreadId, Hold>()
  #told: { threadId: ThreadId, from: number, to: number } | undefined
  #ending: Ending | undefined
  #heardAt = performance.now()
  #spokenAt = performance.now()

  constructor (options: ConnectionOptions) {
    this.connectionId = options.connectionId
    this.userId = options.userId
    this.threadId = options.threadId
    this.handshake = options.handshake
    this.#outbox = options.outbox
    this.#maxHeld = options.maxHeld
    this.#hears = options.hears ?? (() => true)
    this.#sentEvents = options.sentEvents
  }

  get state (): ConnectionState { return this.#life.state }
  get unreadBytes (): number { return this.#outbox.unreadBytes ?? 0 }
  get transport (): Transport {
    if (this.#outbox.duplex) return 'socket'
    return this.#outbox.unreadBytes === undefined ? 'local' : 'stream'
  }

  /** Of a connection whose client is gone. */
  get ending (): Ending { return this.#ending ?? (this.#outbox.isComplete === true ? 'complete' : 'client') }
  get active (): boolean { return this.#life.state === 'connecting' || this.#life.state === 'open' }

  /** The client has been told where it is. */
  open (): void {
    this.#life.move('open')
    this.#outbox.open()
  }

  closed (): boolean { return this.#life.move('closed') }

  /** A pong was received: the peer lives. */
  heard (): void { this.#heardAt = performance.now() }

  /** A frame was received: the peer lives, and has something to say. */
  spoke (): void {
    this.heard()
    this.#spokenAt = this.#heardAt
  }

  /**
   * Pings the peer; cuts it off when nothing was heard of it for longer than `silentMs`, and says goodbye when it has said nothing
   * for longer than `idleMs` (0: it may be idle for ever). A peer that cannot be heard is only pinged.
   */
  beat ({ silentMs, idleMs }: { silentMs: number, idleMs: number }): void {
    const now = performance.now()
    if (!this.#outbox.duplex) this.#outbox.ping()
    else if (now - this.#heardAt > silentMs) this.#cutOff()
    else if (idleMs > 0 && now - this.#spokenAt > idleMs) this.close('idle')
    else this.#outbox.ping()
  }

  close (reason: CloseReason): void {
    this.#ending ??= reason
    this.#life.move('closing')
    this.#outbox.close(reason)
  }

  /** Closes it for an error, so that its client comes back: later, where only the storage is away. */
  fail (err: unknown): void {
    this.close(isThreadlineError(err, 'THREADLINE_STORAGE_UNAVAILABLE') ? 'notReady' : 'internal')
  }

  terminate (): void { this.#outbox.terminate() }

  /** Resolves when what was written has left this process, or the client is gone. */
  drained (): Promise<void> { return this.#outbox.drained() }

  /** Whether events of this thread are meant for this connection, now or once it has entered. */
  wants (threadId: ThreadId): boolean {
    return this.threadId === threadId || this.#holds.has(threadId)
  }

  hears (event: ServerEvent): boolean { return this.#hears(event) }

  /** What this connection has been sent of a thread; undefined when it is not in it. */
  told (threadId: ThreadId): Told | undefined {
    return this.threadId === threadId && this.#told?.threadId === threadId ? this.#told : undefined
  }

  /** Notes what the connection has been sent, or need not be sent, of the thread that it is in. */
  stand (threadId: ThreadId, { from, to }: Told): void {
    this.#told = { threadId, from, to }
  }

  /** From now on, events of the thread are held back. Whoever held them back before has lost its hold to this one. */
  hold (threadId: ThreadId): Hold {
    const hold: Hold = { threadId, waiting: this.#holds.get(threadId)?.waiting ?? [] }
    this.#holds.set(threadId, hold)
    return hold
  }

  holds (hold: Hold): boolean { return this.#holds.get(hold.threadId) === hold }

  /** Ends the holding back, and gives what was held; nothing when the hold was lost. */
  release (hold: Hold): readonly (() => void)[] {
    if (!this.holds(hold)) return []
    this.#holds.delete(hold.threadId)
    return hold.waiting
  }

  /** Forgets what was held back of the thread. */
  drop (threadId: ThreadId): void { this.#holds.delete(threadId) }

  /**
   * True when the event was held back, false when it is to be sent now. It is sent in the context that is active now, which is its own:
   * whoever releases it is somebody else.
   */
  holdBack (event: ThreadEvent, send: () => void): boolean {
    const hold = this.#holds.get(event.thread_id)
    if (hold === undefined) return false
    if (hold.waiting.length >= this.#maxHeld) this.close('slowConsumer')
    else hold.waiting.push(bindThread(send))
    return true
  }

  /**
   * Writes an event that is for this connection alone, or for its user. Throws `THREADLINE_CONTEXT_MISMATCH`, and writes nothing,
   * when the event, the connection and the active identity are not all of one user.
   */
  write (event: ServerEvent, frame: string = JSON.stringify(event)): Sent {
    guard({ userId: event.user_id }, 'socket.send')
    guard({ userId: this.userId }, 'socket.send')
    return this.#send(event, frame)
  }

  /** Writes an event of a thread: its thread, the connection's and the active one must be the same. */
  writeThreadEvent (event: ThreadEvent, frame: string): Sent {
    guard({ userId: event.user_id, threadId: event.thread_id, runId: event.run_id }, 'socket.send')
    guard({ userId: this.userId, threadId: this.threadId ?? null }, 'socket.send')
    const sent = this.#send(event, frame)
    if (sent === 'sent') this.#follow(event)
    return sent
  }

  /** Notes that an event of the thread, at its turn, was not for this connection. */
  passOver (event: ThreadEvent): void { this.#follow(event) }

  #cutOff (): void {
    this.#ending ??= 'silent'
    this.#outbox.terminate()
  }

  #follow ({ thread_id: threadId, sequence }: ThreadEvent): void {
    if (this.#told?.threadId === threadId && sequence > this.#told.to) this.#told.to = sequence
  }

  #send (event: ServerEvent, frame: string): Sent {
    const sent = this.#outbox.send(event, frame)
    if (sent === 'overflow') {
      this.#ending ??= 'slowConsumer'
      this.#life.move('closing') // the outbox has said goodbye itself
    }
    if (sent === 'sent') this.#sentEvents?.tell(this, event, frame)
    return sent
  }
}
