import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { context, ROOT_CONTEXT } from '@opentelemetry/api'
import type { Logger } from '../context/logger.ts'
import { ThreadlineError } from '../errors.ts'
import { backoffMs } from './backoff.ts'
import { Doubt } from './doubt.ts'
import { openRedisLink, type RedisLink } from './redis-link.ts'

/** What is asked of Redis beside the bus: nothing that must not be lost. */
export interface RedisCommands {
  /** False while Redis is away, or does not answer. */
  readonly up: boolean
  /**
   * Runs a Lua script on keys of one hash tag. Rejects with `THREADLINE_STORAGE_UNAVAILABLE` at once while Redis is away and after 250 ms without an
   * answer, when it may have been run all the same; and with Redis' own error for a script that fails.
   */
  eval (script: string, keys: readonly string[], args: readonly string[]): Promise<unknown>
}

export interface RedisConnectionOptions {
  /** `redis://` or `rediss://`, of a server or of one of a cluster. */
  readonly url: string
  /** Certificates (PEM) of the authorities that are trusted for `rediss://`; those of Node without it. */
  readonly authorities?: string | undefined
  readonly logger: Logger
  readonly heartbeatMs?: number
  readonly overdueMs?: number
  readonly restartMs?: number
}

const maxBackoffMs = 5_000
const evalLimitMs = 250
/** Texts that have been handed over and not been taken yet. */
const maxUnsent = 10_000
const maxUnsentBytes = 16 * 1024 * 1024
/** A cluster carries channels on several servers: so many are listened to that each server has some of them, most likely. */
const heartbeatsOfCluster = 16

/**
 * The one connection of this node to Redis, made again whenever it is lost or silent. It is up when it has heard itself since, by channels of its
 * own: so what comes after `up` on a channel that was listened to before is heard.
 */
export class RedisConnection implements RedisCommands {
  readonly doubt: Doubt
  readonly #options: RedisConnectionOptions
  readonly #receivers = new Map<string, Set<(text: string) => void>>()
  readonly #heartChannels: readonly string[]
  readonly #closing = new AbortController()
  readonly #kept: Promise<void>
  readonly #heart: NodeJS.Timeout
  /** When each of its own channels was heard last, or listened to; and those that have been heard since it was known to hear nothing. */
  readonly #silent = new Map<string, number>()
  readonly #heard = new Set<string>()
  #link: RedisLink | undefined
  #generation = 0
  #attempts = 0
  #unsent = 0
  #unsentBytes = 0
  #isAway = false
  /** All that is listened to is known to Redis. */
  #listens = false

  constructor (options: RedisConnectionOptions) {
    const { logger, heartbeatMs = 1_000 } = options
    this.#options = options
    this.doubt = new Doubt(logger, true)
    const instance = randomUUID()
    this.#heartChannels = Array.from({ length: heartbeatsOfCluster }, (_channel, index) => `threadline:{node:${instance}:${index}}`)
    this.#heart = context.with(ROOT_CONTEXT, () => setInterval(() => { this.#check(); this.#beat() }, heartbeatMs))
    this.#kept = context.with(ROOT_CONTEXT, () => this.#keep())
  }

  get up (): boolean { return this.#link !== undefined && !this.doubt.doubtful }

  async eval (script: string, keys: readonly string[], args: readonly string[]): Promise<unknown> {
    const link = this.#link
    if (link === undefined || !this.up) throw new ThreadlineError('THREADLINE_STORAGE_UNAVAILABLE', 'Redis is away')
    const limit = new AbortController()
    const late = delay(evalLimitMs, undefined, { signal: limit.signal })
      .then(() => { throw new ThreadlineError('THREADLINE_STORAGE_UNAVAILABLE', 'Redis did not answer in time') }, () => undefined)
    try {
      return await Promise.race([context.with(ROOT_CONTEXT, () => link.eval(script, keys, args)), late])
    } finally {
      limit.abort()
    }
  }

  /** Hands a text over; false when it is not sent, because Redis is away or too much waits for it. `done` is told whether Redis took it. */
  publish (channel: string, text: string, done: (taken: boolean) => void): boolean {
    const bytes = Buffer.byteLength(text)
    if (this.#link === undefined || this.#unsent >= maxUnsent || this.#unsentBytes + bytes > maxUnsentBytes) return false
    this.#unsent += 1
    this.#unsentBytes += bytes
    const settle = (taken: boolean): void => {
      this.#unsent -= 1
      this.#unsentBytes -= bytes
      done(taken)
    }
    const link = this.#link
    context.with(ROOT_CONTEXT, () => link.publish(channel, text)).then(() => { settle(true) }, () => { settle(false) })
    return true
  }

  /** Listens to a channel, now and after each loss. What comes before Redis knows of it is not heard. */
  listen (channel: string, receive: (text: string) => void): () => void {
    const known = this.#receivers.get(channel)
    const receivers = known ?? new Set()
    receivers.add(receive)
    if (known === undefined) {
      this.#receivers.set(channel, receivers)
      void this.#try((link) => link.subscribe(channel))
    }
    return () => {
      if (!receivers.delete(receive) || receivers.size > 0 || this.#receivers.get(channel) !== receivers) return
      this.#receivers.delete(channel)
      void this.#try((link) => link.unsubscribe(channel))
    }
  }

  /** Leaves nothing open. */
  async close (): Promise<void> {
    clearInterval(this.#heart)
    this.#closing.abort()
    this.#link?.destroy()
    await this.#kept
  }

  // A connection that cannot do this is of no use: it is made anew.
  async #try (ask: (link: RedisLink) => Promise<void>): Promise<void> {
    const link = this.#link
    if (link === undefined) return
    await context.with(ROOT_CONTEXT, () => ask(link)).catch(() => { link.destroy() })
  }

  async #keep (): Promise<void> {
    const { signal } = this.#closing
    while (!signal.aborted) {
      await this.#live().catch((error: unknown) => { this.#tellLoss(error) })
      this.#link = undefined
      this.doubt.set(true)
      await delay(backoffMs(this.#attempts, { maxMs: maxBackoffMs }), undefined, { signal }).catch(() => undefined)
      this.#attempts += 1
    }
  }

  /** From the making of the connections to the loss of one. */
  async #live (): Promise<void> {
    const { promise: lost, reject } = Promise.withResolvers<never>()
    lost.catch(() => undefined) // it may be lost while it is still being prepared
    this.#generation += 1
    const generation = String(this.#generation)
    const link = await openRedisLink(this.#options.url, {
      heard: (channel, text) => { this.#hear(channel, text, generation) },
      lost: (error) => { reject(error ?? new Error('The connection has ended')) },
      moved: () => { this.doubt.tell() }
    }, this.#options.authorities)
    try {
      if (this.#closing.signal.aborted) return
      this.#silent.clear()
      for (const channel of this.#heartChannels.slice(0, link.isCluster ? heartbeatsOfCluster : 1)) this.#silent.set(channel, performance.now())
      this.#link = link // what is listened to from now on asks for itself; asking twice does no harm
      await Promise.race([lost, Promise.all([...this.#silent.keys(), ...this.#receivers.keys()].map(async (channel) => { await link.subscribe(channel) }))])
      this.#listens = true
      this.#beat()
      await lost
    } finally {
      this.#listens = false
      link.destroy()
    }
  }

  #hear (channel: string, text: string, generation: string): void {
    if (generation !== String(this.#generation) || this.#closing.signal.aborted) return
    if (this.#silent.has(channel)) return this.#heardItself(channel, text)
    const receivers = [...this.#receivers.get(channel) ?? []]
    for (const receive of receivers) receive(text)
  }

  #beat (): void {
    if (!this.#listens) return
    for (const channel of this.#silent.keys()) this.publish(channel, String(this.#generation), () => {})
  }

  #heardItself (channel: string, text: string): void {
    if (text !== String(this.#generation)) return
    this.#silent.set(channel, performance.now())
    this.#heard.add(channel)
    if (this.#heard.size < this.#silent.size || !this.doubt.doubtful) return
    this.#attempts = 0
    if (this.#isAway) this.#options.logger.info({ bus: 'redis' }, 'Redis is there again')
    this.#isAway = false
    this.doubt.set(false)
  }

  #check (): void {
    const { overdueMs = 3_000, restartMs = 5_000 } = this.#options
    if (this.#link === undefined) return
    const silentMs = performance.now() - Math.min(...this.#silent.values())
    if (silentMs < overdueMs) return
    this.#heard.clear()
    this.doubt.set(true)
    if (silentMs < overdueMs + restartMs) return
    this.#tellLoss(new Error('Redis is silent'))
    this.#link.destroy()
  }

  #tellLoss (err: unknown): void {
    this.#heard.clear()
    if (this.#isAway || this.#closing.signal.aborted) return
    this.#isAway = true
    this.#options.logger.warn({ bus: 'redis', err }, 'Redis is away; the database does its work until it is back')
  }
}
