import { createHash } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { context, ROOT_CONTEXT } from '@opentelemetry/api'
import type pg from 'pg'
import type { Logger } from '../context/logger.ts'
import type { Signer } from '../context/signature.ts'
import { BusEnd } from './bus-end.ts'
import { Doubt, eitherDoubt } from './doubt.ts'
import type { EventBus } from './event-bus.ts'
import type { NodeClocks } from './node-clocks.ts'
import { cutIntoNotifications, maxNotificationBytes, NotificationParts } from './notification-parts.ts'
import { OutgoingPosts } from './outgoing-posts.ts'
import { PostgresSession } from './postgres-session.ts'

export interface PostgresBusOptions {
  readonly node: string
  readonly signer: Signer
  readonly logger: Logger
  /** Where notifications are sent. */
  readonly url: string
  /** Where they are listened to, when `url` leads to a pooler. */
  readonly listenUrl?: string | undefined
  readonly clocks?: NodeClocks | undefined
  /** How long what is to be sent gathers. */
  readonly gatherMs?: number
  /** How often the bus asks itself whether it hears. */
  readonly heartbeatMs?: number
  /** How long it may not have heard itself until it is doubtful. */
  readonly overdueMs?: number
  /** How long then until the connections are made again. */
  readonly restartMs?: number
}

const channel = 'threadline_bus'
/** The signature and the node stand before the posts. */
const maxPostsBytes = maxNotificationBytes - 400
/** Of one statement: many notifications, one round trip and one turn at the lock that orders notifications. */
const maxPayloads = 64
const lastSendMs = 500

/**
 * The bus over the database that is there anyway. Hints gather for a moment and leave together, by a session of their own and never in the transaction that
 * writes, because Postgres commits transactions that notify one after the other. Losing them with a crash of the server is no loss: nothing waits
 * for the disk. Whether notifications are heard at all, which a pooler may prevent without a word, is known by listening to itself.
 */
export function createPostgresBus (options: PostgresBusOptions): EventBus {
  const bus = new PostgresBus(options)
  const doubt = eitherDoubt(bus.doubt, bus.end.clocks.doubt)
  return {
    node: options.node,
    publish: (topic, signal) => { bus.publish(topic, signal) },
    subscribe: (topic, receive) => bus.end.subscribe(topic, receive),
    get doubtful () { return doubt.doubtful },
    onDoubt: (listener) => doubt.on(listener),
    get subscribed () { return bus.end.subscribed },
    close: () => bus.close()
  }
}

class PostgresBus {
  readonly end: BusEnd
  readonly doubt: Doubt
  readonly #options: PostgresBusOptions
  readonly #ownChannel: string
  readonly #outgoing: OutgoingPosts
  readonly #parts = new NotificationParts()
  readonly #listening: PostgresSession
  readonly #sending: PostgresSession
  readonly #heart: NodeJS.Timeout
  #isSending = false
  #sendingNow: Promise<void> | undefined
  #closed: Promise<void> | undefined
  /** Of the connection that listens: what an earlier one was sent proves nothing of this one. */
  #generation = 0
  #heardAt = performance.now()
  #texts = 0

  constructor (options: PostgresBusOptions) {
    const { node, signer, logger, clocks, url, listenUrl = url, heartbeatMs = 1_000 } = options
    this.#options = options
    this.#ownChannel = `threadline_node_${createHash('sha256').update(node).digest('hex').slice(0, 32)}`
    this.end = new BusEnd({ node, signer, logger, clocks, bus: 'postgres' })
    this.doubt = new Doubt(logger, true)
    this.#outgoing = new OutgoingPosts(this.end)
    const lost = (err: unknown): void => { this.#lost(err) }
    this.#sending = new PostgresSession({ url, name: 'threadline bus', lost, connected: () => { this.#beat(); this.#startSending() } })
    this.#listening = new PostgresSession({
      url: listenUrl,
      name: 'threadline bus listener',
      prepare: async (client) => { await this.#listen(client) },
      connected: () => { this.#beat() },
      lost: (err) => { this.doubt.set(true); lost(err) }
    })
    this.#heart = context.with(ROOT_CONTEXT, () => setInterval(() => { this.#check(); this.#beat() }, heartbeatMs))
  }

  publish (topic: Parameters<EventBus['publish']>[0], signal: Parameters<EventBus['publish']>[1]): void {
    if (this.#closed !== undefined) return
    this.#outgoing.add(topic, signal)
    this.#startSending()
  }

  close (): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close (): Promise<void> {
    clearInterval(this.#heart)
    const limit = new AbortController()
    await Promise.race([this.#sendingNow, delay(lastSendMs, undefined, { signal: limit.signal }).catch(() => undefined)])
    limit.abort()
    await Promise.all([this.#listening.close(), this.#sending.close()])
  }

  async #listen (client: pg.Client): Promise<void> {
    this.#generation += 1
    const generation = this.#generation
    this.#heardAt = performance.now()
    client.on('notification', ({ channel: from, payload = '' }) => {
      if (from === this.#ownChannel) return this.#heardItself(payload, generation)
      const text = from === channel ? this.#parts.take(payload) : undefined
      if (text !== undefined && this.#closed === undefined) this.end.hear(text)
    })
    await client.query(`listen ${channel}; listen ${this.#ownChannel}`)
  }

  /** Asks itself, by the way that everybody's signals go. */
  #beat (): void {
    if (this.#listening.client === undefined) return
    void this.#notify(this.#ownChannel, [String(this.#generation)])
  }

  #heardItself (payload: string, generation: number): void {
    if (generation !== this.#generation || payload !== String(generation)) return
    this.#heardAt = performance.now()
    this.#listening.proven()
    if (this.end.isOver('away')) this.#options.logger.info({ bus: 'postgres' }, 'Notifications of the database are heard again')
    this.doubt.set(false)
  }

  #check (): void {
    const { overdueMs = 3_000, restartMs = 10_000 } = this.#options
    const silentMs = performance.now() - this.#heardAt
    if (silentMs < overdueMs) return
    this.end.sayOnce('away', {}, 'No notification of the database is heard, as behind a transaction pooler (DATABASE_LISTEN_URL leads past it); the log is asked often instead')
    this.doubt.set(true)
    if (silentMs < overdueMs + restartMs || this.#listening.client === undefined) return
    this.#heardAt = performance.now()
    this.#listening.restart()
  }

  #lost (err: unknown): void {
    if (this.#closed === undefined) this.end.sayOnce('away', { err }, 'The database cannot be reached for notifications; they come back with it')
  }

  #startSending (): void {
    if (this.#isSending || this.#outgoing.isEmpty) return
    this.#isSending = true
    this.#sendingNow = context.with(ROOT_CONTEXT, () => this.#send())
  }

  // What waits while the session is away: hints, one for each thread. They leave when it is back.
  async #send (): Promise<void> {
    try {
      while (!this.#outgoing.isEmpty) {
        if (this.#closed === undefined) await delay(this.#options.gatherMs ?? 2)
        if (this.#sending.client === undefined) return this.#outgoing.dropMessages()
        await this.#sendSome()
      }
    } finally {
      this.#isSending = false // in the turn in which nothing was left
    }
  }

  async #sendSome (): Promise<void> {
    const payloads: string[] = []
    let posts = 0
    while (payloads.length < maxPayloads && !this.#outgoing.isEmpty) {
      const taken = this.#outgoing.take(maxPostsBytes)
      if (taken.length === 0) break
      posts += taken.length
      this.#texts += 1
      payloads.push(...cutIntoNotifications(this.end.seal(taken), `${this.#ownChannel}.${this.#texts}`))
    }
    this.end.sent(await this.#notify(channel, payloads) ? 'ok' : 'failed', posts)
  }

  async #notify (to: string, payloads: readonly string[]): Promise<boolean> {
    const { client } = this.#sending
    if (client === undefined) return false
    try {
      // The setting is this transaction's alone: a commit that notifies would else wait for the disk.
      await client.query(
        "with quick as (select set_config('synchronous_commit', 'off', true)) select pg_notify($1, payload) from quick, unnest($2::text[]) as payload",
        [to, payloads]
      )
      this.#sending.proven()
      return true
    } catch (err) {
      this.#lost(err)
      this.#sending.restart() // it does not answer, or what it answers is of no use
      return false
    }
  }
}
