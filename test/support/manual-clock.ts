import type { Clock } from '../../client/clock.ts'

export interface ManualClock extends Clock {
  /** Lets time pass, and runs what comes due in its order, also what was only scheduled meanwhile. */
  advance (ms: number): void
  /** How many calls are still to come. */
  readonly scheduled: number
}

/** A clock that stands still until the test moves it. */
export function createManualClock (): ManualClock {
  let now = 0
  let nextId = 0
  const timers = new Map<number, { readonly dueAt: number, readonly fn: () => void }>()

  const earliest = (limit: number): [number, () => void] | undefined => {
    const [first] = [...timers].filter(([, { dueAt }]) => dueAt <= limit).toSorted(([, a], [, b]) => a.dueAt - b.dueAt)
    if (first === undefined) return undefined
    const [id, { dueAt, fn }] = first
    now = Math.max(now, dueAt)
    return [id, fn]
  }

  return {
    now: () => now,
    schedule (delayMs, fn) {
      const id = nextId++
      timers.set(id, { dueAt: now + delayMs, fn })
      return () => { timers.delete(id) }
    },
    advance (ms) {
      const limit = now + ms
      for (let due = earliest(limit); due !== undefined; due = earliest(limit)) {
        timers.delete(due[0])
        due[1]()
      }
      now = limit
    },
    get scheduled () { return timers.size }
  }
}
