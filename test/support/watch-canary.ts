import type { Channel } from 'node:diagnostics_channel'
import { crossingChannel, roundChannel, type Crossing, type RoundEnd } from '../../lib/canary/crossing.ts'

interface Test {
  teardown (fn: () => void): void
}

export interface CanaryRecord {
  readonly crossings: readonly Crossing[]
  readonly rounds: readonly RoundEnd[]
  /** Resolves once that many further rounds have ended, with these. */
  next (count?: number): Promise<readonly RoundEnd[]>
  /** The first crossing, from now on, that was found there. */
  crossing (where: Crossing['where']): Promise<Crossing>
}

/** What the canaries of this process tell from now on, until the end of the test. */
export function watchCanary (t: Test): CanaryRecord {
  const crossings: Crossing[] = []
  const rounds: RoundEnd[] = []
  const waiting = new Set<() => void>()
  // Each channel carries nothing else.
  record(t, crossingChannel, (crossing) => { crossings.push(crossing as Crossing) }, waiting)
  record(t, roundChannel, (round) => { rounds.push(round as RoundEnd) }, waiting)

  async function until<T> (find: () => T | undefined): Promise<T> {
    return await new Promise((resolve) => {
      const look = (): void => {
        const found = find()
        if (found === undefined) return
        waiting.delete(look)
        resolve(found)
      }
      waiting.add(look)
      look()
    })
  }

  return {
    crossings,
    rounds,
    async next (count = 1) {
      const from = rounds.length
      return await until(() => rounds.length >= from + count ? rounds.slice(from, from + count) : undefined)
    },
    async crossing (where) {
      const from = crossings.length
      return await until(() => crossings.slice(from).find((crossing) => crossing.where === where))
    }
  }
}

function record (t: Test, channel: Channel, keep: (message: unknown) => void, waiting: ReadonlySet<() => void>): void {
  const note = (message: unknown): void => {
    keep(message)
    for (const look of waiting) look()
  }
  channel.subscribe(note)
  t.teardown(() => { channel.unsubscribe(note) })
}
