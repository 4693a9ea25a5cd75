import type { ThreadEvent } from '../protocol/events.ts'
import type { ThreadId, UserId } from '../protocol/ids.ts'

/** What nodes listen to: a thread that one of their clients is in, a user who is connected, the work that waits, or which nodes there are. */
export type Topic =
  | { readonly kind: 'thread', readonly userId: UserId, readonly threadId: ThreadId }
  | { readonly kind: 'user', readonly userId: UserId }
  | { readonly kind: 'work' }
  | { readonly kind: 'nodes' }

/** A thread's log reaches to a sequence. `events` end there, without a gap; a bus may leave them out, and may tell the newest of several hints only. */
export interface Hint {
  readonly kind: 'events'
  readonly sequence: number
  readonly events?: readonly ThreadEvent[] | undefined
}

/** Something that is not kept: who is there, who types, which run is to stop. `body` is JSON of at most 256 KiB. */
export interface Message {
  readonly kind: 'message'
  readonly name: string
  readonly body: unknown
}

export type Signal = Hint | Message

/** `from`: the node that sent it. */
export type Receive = (signal: Signal, from: string) => void

/**
 * What the nodes of one service tell each other: a wake-up, never the truth. A signal may be lost, doubled, late or out of order, and whoever
 * listens must be right all the same; a lost hint costs a short poll, not an event. Signals of this node do not come back to it.
 *
 * It is asked outside of identities: what a topic names is the owner, and each receiver enters, and guards, the identity itself. Signals
 * are signed, and one that is not of a node of ours is refused and counted before anybody hears of it.
 */
export interface EventBus {
  /** Which node this is; no two have the same. */
  readonly node: string
  /** Returns at once and never throws. What cannot be sent is dropped and counted. */
  publish (topic: Topic, signal: Signal): void
  /** Several subscriptions of a topic share one of the node. Resolves never: signals that come before it stands are lost, as others may be. */
  subscribe (topic: Topic, receive: Receive): () => void
  /**
   * True while signals may be lost for certain: the connection is away, or was until a moment ago, or what some node tells is refused for its clock. Who needs to know
   * asks the log more often.
   */
  readonly doubtful: boolean
  /** Calls `listener` when signals may have been lost: what is followed is to be looked at once. Returns what takes it away again. */
  onDoubt (listener: () => void): () => void
  /** Topics that are subscribed; 0 when nobody is connected. */
  readonly subscribed: number
  close (): Promise<void>
}
