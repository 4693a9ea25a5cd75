import { bindThread } from '../context/bind.ts'
import type { Logger } from '../context/logger.ts'
import { ThreadlineError, toPublicError } from '../errors.ts'
import type { CloseReason } from '../protocol/close-codes.ts'
import type { UserId } from '../protocol/ids.ts'
import type { Storage } from '../stores/storage.ts'
import type { ThreadState } from '../stores/thread-store.ts'
import type { Connection } from './connection.ts'
import { createEvent } from './create-event.ts'
import { countClosed } from './gateway-metrics.ts'
import { resume, type Position } from './resume.ts'
import type { Subscriptions } from './subscriptions.ts'
import type { ThreadMembership } from './thread-membership.ts'
import { TokenClock } from './token-clock.ts'
import { writeAsHop } from './write-event.ts'

/** Who connects: authenticated before. */
export interface Caller { readonly userId: UserId, readonly expiresAt: Date | null }

export interface AttachmentOptions {
  readonly connection: Connection
  readonly caller: Caller
  /** What the client has seen of the connection's thread. */
  readonly position: Position | undefined
  readonly membership: ThreadMembership
  readonly subscriptions: Subscriptions
  readonly storage: Storage
  readonly logger: Logger
  /** How long before its token expires a client is told. */
  readonly tokenNoticeMs: number
}

/**
 * A registered connection while its client is there: told where it is, and watched. It is made in the identity of the handshake, in
 * which `establish`, `fail` and what the clock tells happen, whoever calls.
 */
export class Attachment {
  readonly connection: Connection
  /**
   * Tells the client where it is and what it has missed, once and before anything else is done for it. Rejects when the storage does not
   * say.
   */
  readonly establish = bindThread(() => this.#establish())
  /** Begins what is not established: its client is told where it is in another way. */
  readonly begin = bindThread(() => { this.#begin() })
  /** For what nobody expected: it is logged, and the connection closed. */
  readonly fail = bindThread((err: unknown) => { this.#fail(err) })
  readonly #options: AttachmentOptions
  readonly #clock: TokenClock

  constructor (options: AttachmentOptions) {
    const { connection, tokenNoticeMs } = options
    this.connection = connection
    this.#options = options
    this.#clock = new TokenClock({
      noticeMs: tokenNoticeMs,
      expiring: bindThread((at: Date) => { writeAsHop(connection, createEvent('token_expiring', { expires_at: at.toISOString() })) }),
      expired: bindThread(() => { this.refuse(new ThreadlineError('THREADLINE_TOKEN_EXPIRED'), 'notAuthenticated') })
    })
  }

  /** The client has a fresh token. */
  renewed (expiresAt: Date): void { this.#clock.set(expiresAt) }

  /** Tells the client of an error, in the active identity, and says goodbye when there is a reason for it. */
  refuse (error: ThreadlineError, reason?: CloseReason): void {
    this.#options.logger.warn({ code: error.code }, reason === undefined ? 'a message was not taken' : 'a connection is closed')
    writeAsHop(this.connection, createEvent('error', toPublicError(error)))
    if (reason !== undefined) this.connection.close(reason)
  }

  /** Forgets the connection, whose client is gone. */
  end (): void {
    this.connection.closed()
    countClosed(this.connection)
    this.#clock.stop()
    this.#options.membership.remove(this.connection)
  }

  async #establish (): Promise<void> {
    const { connection, position, membership, storage } = this.#options
    const { threadId } = connection
    if (threadId === undefined) return this.#tell({ sequence: 0, activeRuns: [] })
    if (position !== undefined) {
      await resume(connection, position, {
        ...this.#options,
        greet: (state) => { this.#tell(state) },
        answer: (type, payload) => { writeAsHop(connection, createEvent(type, payload)) }
      })
      return
    }
    await membership.enter(connection, async () => {
      const state = await storage.threads.state(threadId)
      return { sequence: state.sequence, tell: () => { this.#tell(state) } }
    })
  }

  #tell ({ sequence, activeRuns }: Pick<ThreadState, 'sequence' | 'activeRuns'>): void {
    const { connection, caller: { expiresAt }, storage } = this.#options
    writeAsHop(connection, createEvent('connection_established', {
      connection_id: connection.connectionId,
      user_id: connection.userId,
      thread_id: connection.threadId ?? null,
      token_expires_at: expiresAt?.toISOString() ?? null,
      sequence,
      epoch: storage.epoch,
      active_runs: [...activeRuns]
    }))
    this.#begin()
  }

  /** Only now its token is watched, of which it could be told at once. */
  #begin (): void {
    const { connection, caller: { expiresAt } } = this.#options
    connection.open()
    if (expiresAt !== null) this.#clock.set(expiresAt)
  }

  #fail (err: unknown): void {
    this.#options.logger.error({ err }, 'a connection failed')
    this.connection.fail(err)
  }
}
