import type { Identity } from '../context/identity.ts'
import type { ThreadEvent } from '../protocol/events.ts'
import type { ThreadId, UserId } from '../protocol/ids.ts'

export interface Follower { readonly owner: Identity, readonly receive: (event: ThreadEvent) => void }

/** A thread that is followed here, and how far its events have been told. */
export interface FollowedThread {
  readonly threadId: ThreadId
  readonly followers: Set<Follower>
  /** What each of their users' subscription of the bus ends with. */
  readonly subscriptions: Map<UserId, () => void>
  /** The last sequence that was told, or that everybody knows already; undefined until that is known. */
  position: number | undefined
  /** The position was found by asking, and nothing has been told since: somebody may know less. */
  isAssumed: boolean
  /** How far the log reaches, as far as is known here, and in whose name what is missing can be read. */
  target: number
  reader: UserId | undefined
}

export function createFollowedThread (threadId: ThreadId): FollowedThread {
  return { threadId, followers: new Set(), subscriptions: new Map(), position: undefined, isAssumed: false, target: 0, reader: undefined }
}

/** Events are stored that were not told here. */
export function isBehind ({ position, target }: FollowedThread): boolean {
  return position !== undefined && position < target
}

/** The log reaches at least to a sequence, as its owner has told. */
export function reach (followed: FollowedThread, reader: UserId, sequence: number): void {
  followed.reader = reader
  followed.target = Math.max(followed.target, sequence)
}

/** A follower knows everything up to a sequence, and nothing behind it. */
export function standAt (followed: FollowedThread, sequence: number): void {
  const { position, isAssumed } = followed
  if (position === undefined || (isAssumed && sequence < position)) followed.position = sequence
  followed.isAssumed = false
}

/** Takes a found position, where none is known. What lies before it was stored before anybody asked. */
export function assumeAt (followed: FollowedThread, sequence: number): void {
  if (followed.position !== undefined) return
  followed.position = sequence
  followed.isAssumed = true
}
