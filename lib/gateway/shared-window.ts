import { createHash, randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from '../context/logger.ts'
import { ThreadlineError } from '../errors.ts'
import { GroupCommit } from '../events/group-commit.ts'
import { isReservedUserId, type UserId } from '../protocol/ids.ts'
import type { LimitStore } from '../stores/limit-store.ts'
import type { FrameLimit, MessageWindow } from './message-window.ts'

/** Redis, as far as frames are counted by it. */
export interface ScriptRunner {
  /** False while it is away. */
  readonly up: boolean
  eval (script: string, keys: readonly string[], values: readonly string[]): Promise<unknown>
}

export interface SharedWindowOptions {
  readonly local: MessageWindow
  readonly limit: number
  readonly windowMs: number
  readonly redis?: ScriptRunner | undefined
  readonly store: LimitStore
  /** What its nodes have in common and no other service has, which may use the same Redis. */
  readonly service: string
  readonly logger: Logger
  /** How long an answer may take; 500 ms without it. */
  readonly answerMs?: number
}

/** Where frames of all nodes are counted, and what is left when that fails. */
const places = { 'Redis': 'the database', 'the database': 'what each node counts alone' } as const
type Place = keyof typeof places

/** After a failure it is not asked for so long: a service that has lost its storage is not slowed down by asking for it at each frame. */
const pauseMs = 1_000

// By the clock of Redis. What was refused is not counted.
const script = `
  local now = redis.call('TIME')
  local ms = now[1] * 1000 + math.floor(now[2] / 1000)
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ms - ARGV[2])
  if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
  redis.call('ZADD', KEYS[1], ms, ARGV[3])
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return 1`

/**
 * The same window over all nodes together. A frame that is too many for this node alone is refused without asking anybody; the others are counted
 * in Redis, else in the database, many in one statement. Where neither answers in time, the window of this node is all there is: a user who
 * could write too much is the smaller evil.
 */
export class SharedWindow implements FrameLimit {
  readonly #options: SharedWindowOptions
  readonly #asking: GroupCommit<UserId, boolean>
  #pausedUntil = -Infinity
  readonly #failing = new Set<Place>()

  constructor (options: SharedWindowOptions) {
    this.#options = options
    this.#asking = new GroupCommit({ commit: (users) => this.#ask(users), maxBatch: 256, maxWaiting: 10_000 })
  }

  get size (): number { return this.#options.local.size }

  sweep (): void { this.#options.local.sweep() }

  admit (userId: UserId): boolean | Promise<boolean> {
    if (!this.#options.local.admit(userId)) return false
    if (isReservedUserId(userId) || performance.now() < this.#pausedUntil) return true
    return this.#admitEverywhere(userId)
  }

  async #admitEverywhere (userId: UserId): Promise<boolean> {
    try {
      const admitted = await this.#asking.add(userId)
      if (!admitted) this.#options.local.takeBack(userId)
      return admitted
    } catch {
      return true // it was told when it began
    }
  }

  async #ask (users: readonly UserId[]): Promise<readonly boolean[]> {
    const { redis, store, limit, windowMs } = this.#options
    if (redis?.up === true) {
      try {
        const admitted = await this.#inTime(Promise.all(users.map((userId) => this.#askRedis(redis, userId))))
        this.#answered('Redis')
        return admitted
      } catch (err) {
        this.#failed('Redis', err)
      }
    }
    try {
      const admitted = await this.#inTime(store.admit(users.map((userId) => ({ userId, count: 1 })), { limit, windowMs }))
      this.#answered('the database')
      return admitted
    } catch (err) {
      this.#pausedUntil = performance.now() + pauseMs
      this.#failed('the database', err)
      throw err
    }
  }

  // Said when it begins and when it is over, and not at each frame.
  #failed (place: Place, err: unknown): void {
    if (this.#failing.has(place)) return
    this.#failing.add(place)
    this.#options.logger.warn({ err }, `Messages cannot be counted in ${place}; a limit of messages over all nodes goes by ${places[place]}`)
  }

  #answered (place: Place): void {
    if (this.#failing.delete(place)) this.#options.logger.info({}, `Messages are counted in ${place} again`)
  }

  async #askRedis (redis: ScriptRunner, userId: UserId): Promise<boolean> {
    const { limit, windowMs, service } = this.#options
    const key = createHash('sha256').update(JSON.stringify([service, windowMs, userId])).digest('base64url')
    return await redis.eval(script, [`threadline:window:{${key}}`], [String(limit), String(windowMs), randomUUID()]) === 1
  }

  async #inTime<T> (answer: Promise<T>): Promise<T> {
    const over = new AbortController()
    const late = delay(this.#options.answerMs ?? 500, undefined, { signal: over.signal }).then(() => {
      throw new ThreadlineError('THREADLINE_TIMED_OUT', 'The count of messages was not answered in time')
    })
    late.catch(() => undefined) // it is heard of by the race, or nobody waits for it any more
    try {
      return await Promise.race([answer, late])
    } finally {
      over.abort()
    }
  }
}
