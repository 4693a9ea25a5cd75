import { once } from 'node:events'
import { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { context, ROOT_CONTEXT } from '@opentelemetry/api'
import pg from 'pg'
import { backoffMs } from './backoff.ts'

export interface PostgresSessionOptions {
  readonly url: string
  /** As the server lists it. */
  readonly name: string
  /** Prepares a new connection, before anybody else has it. Throwing gives it up. */
  readonly prepare?: (client: pg.Client) => Promise<void>
  readonly connected: () => void
  /** The connection has ended, or could not be made. */
  readonly lost: (error: unknown) => void
}

const connectTimeoutMs = 5_000
/** Of each statement; there are none here that take long. */
const queryTimeoutMs = 5_000
const maxBackoffMs = 10_000
const closeTimeoutMs = 1_000

/**
 * One connection of its own to a Postgres server, made again whenever it is lost. It never throws: whoever needs it looks whether it is there.
 * Nothing is set for the session, because a pooler may lend the same one to others.
 */
export class PostgresSession {
  readonly #options: PostgresSessionOptions
  readonly #closing = new AbortController()
  readonly #kept: Promise<void>
  #socket: Socket | undefined
  #client: pg.Client | undefined
  #attempts = 0

  constructor (options: PostgresSessionOptions) {
    this.#options = options
    this.#kept = context.with(ROOT_CONTEXT, () => this.#keep())
  }

  /** While the connection stands. */
  get client (): pg.Client | undefined { return this.#client }

  /** It does what it is for: when it is lost, it is made again soon. */
  proven (): void { this.#attempts = 0 }

  /** Gives up a connection that stands and does not answer. */
  restart (): void { this.#socket?.destroy() }

  /** Leaves nothing open. */
  async close (): Promise<void> {
    this.#closing.abort()
    const client = this.#client
    if (client !== undefined) await Promise.race([client.end().catch(() => undefined), delay(closeTimeoutMs, undefined, { ref: false })])
    this.#socket?.destroy()
    await this.#kept
  }

  async #keep (): Promise<void> {
    const { signal } = this.#closing
    while (!signal.aborted) {
      const error = await this.#live()
      if (signal.aborted) return
      this.#options.lost(error)
      await delay(backoffMs(this.#attempts, { maxMs: maxBackoffMs }), undefined, { signal }).catch(() => undefined)
      this.#attempts += 1
    }
  }

  /** From the making of a connection to its end; gives why it has ended. */
  async #live (): Promise<unknown> {
    const socket = new Socket()
    this.#socket = socket
    let failure: unknown
    try {
      const client = new pg.Client({
        connectionString: this.#options.url,
        stream: () => socket,
        application_name: this.#options.name,
        keepAlive: true,
        keepAliveInitialDelayMillis: 5_000,
        connectionTimeoutMillis: connectTimeoutMs,
        query_timeout: queryTimeoutMs
      })
      client.on('error', (error) => { failure ??= error })
      const ended = once(client, 'end', { signal: this.#closing.signal }).catch(() => undefined)
      await client.connect()
      await this.#options.prepare?.(client)
      if (!this.#closing.signal.aborted) {
        this.#client = client
        this.#options.connected()
        await ended
      }
      return failure
    } catch (error) {
      return failure ?? error
    } finally {
      this.#client = undefined
      if (!this.#closing.signal.aborted) socket.destroy() // when closing, it is said goodbye to first
    }
  }
}
