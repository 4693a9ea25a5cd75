import { ThreadlineClientError } from './client-error.ts'
import type { Clock } from './clock.ts'
import { startHeartbeat, type Heartbeat } from './heartbeat.ts'
import { deferralMs, isRetryableByHand, meaningOf, nextStep, reconnectDelayMs, type ReconnectPolicy } from './reconnect-policy.ts'
import { abandon, openSocket, socketUrl, type Socket, type SocketClose, type SocketConstructor, type Start } from './socket.ts'
import type { ClientStatus } from './threadline-client.ts'
import { decodeEvent, type ThreadlineEvent } from './threadline-event.ts'

export interface LinkOptions {
  readonly url: string
  readonly WebSocket: SocketConstructor
  readonly getToken: (signal: AbortSignal) => Promise<string>
  /** Whether `getToken` can have another token than the last one. */
  readonly canRenew: boolean
  readonly policy: ReconnectPolicy
  readonly connectTimeoutMs: number
  readonly heartbeatMs: number
  readonly clock: Clock
  readonly random: () => number
}

/** Whom the link serves. */
export interface LinkOwner {
  /** Asked at each attempt, so that a new connection goes on where the old one ended. */
  start (): Start
  receive (event: ThreadlineEvent): void
  /** The connection is gone; another attempt follows, or `stopped`. */
  lost (): void
  /** Nothing follows. */
  stopped (error: ThreadlineClientError | undefined): void
  status (status: ClientStatus): void
}

/** One attempt to connect, and the connection that comes of it. */
interface Attempt {
  readonly abort: AbortController
  cancelTimeout: () => void
  socket?: Socket
  establishedAt?: number
  heartbeat?: Heartbeat
}

/** Ids of the link's own frames; their answers concern nobody else. */
const heartbeatId = 'threadline-heartbeat'
const renewalId = 'threadline-renewal'

const noAnswer: SocketClose = { code: 1006, reason: 'No connection came about in time' }
const silence: SocketClose = { code: 1006, reason: 'The server does not answer' }
const closeTimeoutMs = 2_000

/**
 * Keeps one connection up: connecting → established → lost → waiting → connecting …, until `stop` or a close code that
 * says not to come back. Only the newest attempt counts; what an older socket still says is not heard.
 */
export class Link {
  readonly #options: LinkOptions
  readonly #owner: LinkOwner
  #attempt: Attempt | undefined
  /** In a row; a connection that did not live for `stableMs` counts as one. */
  #failures = 0
  /** How often in a row it was asked to come again later. */
  #deferrals = 0
  #renewed = false
  #stopped = false
  #cancelDelay = (): void => {}

  constructor (options: LinkOptions, owner: LinkOwner) {
    this.#options = options
    this.#owner = owner
  }

  /** Whether the frame was handed to an established connection. */
  transmit (text: string): boolean {
    const { socket, establishedAt } = this.#attempt ?? {}
    if (socket === undefined || establishedAt === undefined) return false
    socket.send(text)
    return true
  }

  async connect (): Promise<void> {
    const { clock, url, WebSocket } = this.#options
    const attempt: Attempt = { abort: new AbortController(), cancelTimeout: () => {} }
    attempt.cancelTimeout = clock.schedule(this.#options.connectTimeoutMs, () => { this.#lost(attempt, noAnswer) })
    this.#attempt = attempt
    this.#owner.status({ state: 'connecting', attempt: this.#failures })

    const token = await this.#token(attempt)
    if (token === undefined || this.#attempt !== attempt) return
    try {
      attempt.socket = openSocket({ WebSocket, token, url: socketUrl(url, this.#owner.start()) }, {
        onMessage: (data) => { this.#message(attempt, data) },
        onClose: (close) => { this.#lost(attempt, close) }
      })
    } catch (error) {
      this.#stop(new ThreadlineClientError('CLIENT_BAD_TOKEN', { cause: error }))
    }
  }

  /** Ends without another attempt. Resolves when the socket is closed, or is not waited for any more. */
  async close (reason: ThreadlineClientError | undefined): Promise<void> {
    const socket = this.#attempt?.socket
    this.#stop(reason, false)
    if (socket === undefined) return
    await new Promise<void>((resolve) => {
      const giveUp = this.#options.clock.schedule(closeTimeoutMs, () => {
        abandon(socket)
        resolve()
      })
      socket.addEventListener('close', () => {
        giveUp()
        resolve()
      })
      socket.close(1000)
    })
  }

  /** Undefined when there is none and `#lost` or `#stop` has already seen to it. */
  async #token (attempt: Attempt): Promise<string | undefined> {
    try {
      return await this.#options.getToken(attempt.abort.signal)
    } catch (error) {
      if (this.#attempt !== attempt) return undefined
      const known = error instanceof ThreadlineClientError ? error : new ThreadlineClientError('CLIENT_TOKEN_FAILED', { cause: error })
      if (known.retryable) this.#lost(attempt, { code: 1006, reason: known.message })
      else this.#stop(known)
      return undefined
    }
  }

  #message (attempt: Attempt, data: unknown): void {
    if (this.#attempt !== attempt) return
    attempt.heartbeat?.heard()
    const event = decodeEvent(data)
    if (event === undefined) return this.#stop(new ThreadlineClientError('CLIENT_BAD_FRAME'))
    if (event.reply_to === heartbeatId) return
    if (event.type === 'connection_established' && attempt.establishedAt === undefined) this.#established(attempt)
    if (event.type === 'token_expiring' && this.#options.canRenew) void this.#renew(attempt)
    this.#owner.receive(event)
  }

  #established (attempt: Attempt): void {
    const { clock, heartbeatMs, connectTimeoutMs } = this.#options
    attempt.cancelTimeout()
    attempt.establishedAt = clock.now()
    attempt.heartbeat = startHeartbeat({
      clock,
      intervalMs: heartbeatMs,
      timeoutMs: Math.min(heartbeatMs, connectTimeoutMs),
      ping: () => { this.transmit(JSON.stringify({ type: 'ping', id: heartbeatId, payload: {} })) },
      onDead: () => { this.#lost(attempt, silence) }
    })
  }

  async #renew (attempt: Attempt): Promise<void> {
    try {
      const token = await this.#options.getToken(attempt.abort.signal)
      if (this.#attempt !== attempt) return
      this.transmit(JSON.stringify({ type: 'authenticate', id: renewalId, payload: { token } }))
    } catch {
      // The old token still has some time; when it is over the server closes with 4401, and that asks for a new one again.
    }
  }

  #lost (attempt: Attempt, close: SocketClose): void {
    if (this.#attempt !== attempt) return
    const { clock, policy, random, canRenew } = this.#options
    if (attempt.establishedAt !== undefined && clock.now() - attempt.establishedAt >= policy.stableMs) {
      this.#failures = 0
      this.#renewed = false
    }
    const { code: closeCode, reason } = close
    const deferredMs = deferralMs(close, this.#deferrals, policy, random)
    const step = deferredMs === undefined ? nextStep(closeCode, { canRenew, alreadyRenewed: this.#renewed }) : 'wait'
    if (step === 'stop') return this.#stop(refusedBy(close))
    if (this.#failures >= policy.maxAttempts) return this.#stop(new ThreadlineClientError('CLIENT_GAVE_UP', { closeCode }))

    this.#renewed ||= step === 'renew'
    const delayMs = step === 'renew' ? 0 : deferredMs ?? reconnectDelayMs(this.#failures, policy, random)
    this.#failures++
    this.#deferrals = deferredMs === undefined ? 0 : this.#deferrals + 1
    this.#release()
    this.#owner.lost()
    this.#owner.status({ state: 'reconnecting', attempt: this.#failures, delayMs, closeCode, reason })
    if (!this.#stopped) this.#cancelDelay = clock.schedule(delayMs, () => { void this.connect() })
  }

  #stop (error: ThreadlineClientError | undefined, endSocket = true): void {
    if (this.#stopped) return
    this.#stopped = true
    this.#cancelDelay()
    this.#release(endSocket)
    this.#owner.stopped(error)
    this.#owner.status(error === undefined ? { state: 'closed' } : { state: 'closed', error })
  }

  #release (endSocket = true): void {
    const attempt = this.#attempt
    this.#attempt = undefined
    attempt?.abort.abort()
    attempt?.cancelTimeout()
    attempt?.heartbeat?.stop()
    if (endSocket && attempt?.socket !== undefined) abandon(attempt.socket)
  }
}

function refusedBy ({ code: closeCode, reason }: SocketClose): ThreadlineClientError {
  const meaning = meaningOf(closeCode) ?? 'it does not want another one'
  return new ThreadlineClientError('CLIENT_REFUSED', {
    message: `The server ended the connection: ${meaning} (${closeCode}${reason === '' ? '' : `, ${reason}`})`,
    retryable: isRetryableByHand(closeCode),
    closeCode
  })
}
