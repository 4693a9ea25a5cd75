/**
 * The life of a connection: `connecting` until it has been told `connection_established`, `open` until one side closes, `closing`
 * until the socket is gone, `closed` for good. `failed` is a connection attempt that may be made once more.
 */
export type ConnectionState = 'connecting' | 'open' | 'closing' | 'closed' | 'failed'

const allowed: Record<ConnectionState, readonly ConnectionState[]> = {
  connecting: ['open', 'closing', 'closed', 'failed'],
  open: ['closing', 'closed', 'failed'],
  closing: ['closed'],
  closed: [],
  failed: ['connecting']
}

/** Holds the state and lets only allowed transitions happen. */
export class ConnectionLife {
  #state: ConnectionState = 'connecting'

  get state (): ConnectionState { return this.#state }

  /** False, and unchanged, when the transition is not allowed. */
  move (to: ConnectionState): boolean {
    if (!allowed[this.#state].includes(to)) return false
    this.#state = to
    return true
  }
}
