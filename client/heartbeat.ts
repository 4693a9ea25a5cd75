import type { Clock } from './clock.ts'

export interface HeartbeatOptions {
  readonly clock: Clock
  /** Between two pings. */
  readonly intervalMs: number
  /** How long after a ping something, anything, must have been heard. */
  readonly timeoutMs: number
  readonly ping: () => void
  readonly onDead: () => void
}

export interface Heartbeat {
  /** To be called for every frame. */
  heard (): void
  stop (): void
}

/** Notices a connection that died without a word: no browser tells its page of one, nor does it let it send pings itself. */
export function startHeartbeat ({ clock, intervalMs, timeoutMs, ping, onDead }: HeartbeatOptions): Heartbeat {
  let cancelDeath: (() => void) | undefined

  const beat = (): void => {
    cancelDeath ??= clock.schedule(timeoutMs, onDead)
    cancelPing = clock.schedule(intervalMs, beat)
    ping()
  }
  let cancelPing = clock.schedule(intervalMs, beat)

  return {
    heard () {
      cancelDeath?.()
      cancelDeath = undefined
    },
    stop () {
      cancelPing()
      cancelDeath?.()
    }
  }
}
