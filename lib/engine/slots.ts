import { tryCurrentIdentity } from '../context/current-thread.ts'

interface Waiting { readonly grant: () => void }

/** One user's: what is held, and what waits, in the order in which it came. */
interface Share {
  held: number
  readonly waiting: Set<Waiting>
}

/**
 * How many runs may work at the same time in this process. `acquire` resolves with the slot's release, and
 * rejects with the signal's reason when it is aborted first. Releasing twice frees one slot.
 *
 * Slots are shared fairly between users: the next one goes to the user who holds the fewest, of those to the one whose turn is longest ago, and of one
 * user's runs to the one that has waited longest. So nobody waits behind all that somebody else has asked for. Who asks is read from the active identity.
 */
export class Slots {
  readonly #limit: number
  #taken = 0
  #waiting = 0
  /** By user, in the order of their turns; who neither holds nor waits is not there. */
  readonly #shares = new Map<string | undefined, Share>()

  constructor (limit: number) {
    this.#limit = limit
  }

  get limit (): number { return this.#limit }
  get taken (): number { return this.#taken }
  get waiting (): number { return this.#waiting }

  async acquire (signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted()
    const user = tryCurrentIdentity()?.userId
    const share = this.#shareOf(user)
    if (this.#taken < this.#limit) {
      this.#taken += 1
      share.held += 1
    } else {
      await this.#wait(signal, user, share)
    }
    let held = true
    return () => {
      if (!held) return
      held = false
      this.#release(user, share)
    }
  }

  async #wait (signal: AbortSignal, user: string | undefined, share: Share): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const waiting: Waiting = { grant: resolve }
    const abort = (): void => {
      if (!share.waiting.delete(waiting)) return // it has been given the slot
      this.#waiting -= 1
      this.#forgetIdle(user, share)
      reject(signal.reason as Error) // an Error: every abort of ours gives one as reason
    }
    share.waiting.add(waiting)
    this.#waiting += 1
    signal.addEventListener('abort', abort, { once: true })
    try {
      await promise
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }

  #release (user: string | undefined, share: Share): void {
    share.held -= 1
    this.#taken -= 1
    this.#grantNext()
    this.#forgetIdle(user, share)
  }

  #grantNext (): void {
    let next: [string | undefined, Share] | undefined
    for (const entry of this.#shares) {
      if (entry[1].waiting.size > 0 && (next === undefined || entry[1].held < next[1].held)) next = entry
    }
    if (next === undefined) return
    const [user, share] = next
    const [first] = share.waiting
    if (first === undefined) return
    share.waiting.delete(first)
    this.#waiting -= 1
    this.#taken += 1
    share.held += 1
    this.#shares.delete(user) // its turn was now: it goes to the end
    this.#shares.set(user, share)
    first.grant()
  }

  #shareOf (user: string | undefined): Share {
    const share = this.#shares.get(user) ?? { held: 0, waiting: new Set() }
    this.#shares.set(user, share)
    return share
  }

  #forgetIdle (user: string | undefined, share: Share): void {
    if (share.held === 0 && share.waiting.size === 0 && this.#shares.get(user) === share) this.#shares.delete(user)
  }
}
