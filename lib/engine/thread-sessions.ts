import { currentIdentity, currentThread, enterThread, tryCurrentThread } from '../context/current-thread.ts'
import { createIdentity } from '../context/identity.ts'
import type { ThreadId, UserId } from '../protocol/ids.ts'
import type { RunRecord } from '../stores/run-record.ts'
import type { StopReason } from './run-outcome.ts'

/** What this process is doing in one thread: the loop that takes its runs from the queue. */
export interface ThreadSession {
  readonly userId: UserId
  readonly threadId: ThreadId
  /** Set when a run was queued after the loop had last looked. */
  requested: boolean
  /** Set when the database may hold a running run of this process that nobody executes. */
  doubtful: boolean
  /** A run that was executed, and whose end could not be stored. */
  unended: { readonly run: RunRecord, readonly reason: StopReason } | undefined
  loop: Promise<void> | undefined
}

/**
 * The live sessions of this process. It can only be asked for the thread that is active, or for all of the active user: nobody can name
 * another user's session. There is at most one for a user and thread, however many ask at the same time.
 */
export class ThreadSessions {
  readonly #sessions = new Map<string, ThreadSession>()

  get size (): number { return this.#sessions.size }

  /** The session of the active thread, made now if there is none. Throws `THREADLINE_NO_CONTEXT` outside of a thread. */
  obtain (): ThreadSession {
    const { userId, threadId } = currentThread()
    const key = keyOf(userId, threadId)
    const found = this.#sessions.get(key)
    if (found !== undefined) return found
    const session: ThreadSession = { userId, threadId, requested: false, doubtful: false, unended: undefined, loop: undefined }
    this.#sessions.set(key, session)
    return session
  }

  find (): ThreadSession | undefined {
    const identity = tryCurrentThread()
    return identity === undefined ? undefined : this.#sessions.get(keyOf(identity.userId, identity.threadId))
  }

  /** Those of the active user, in all threads. Throws `THREADLINE_NO_CONTEXT` outside of an identity. */
  findAll (): readonly ThreadSession[] {
    const { userId } = currentIdentity()
    return [...this.#sessions.values()].filter((session) => session.userId === userId)
  }

  /** Forgets the active thread's session. Other sessions are untouched. */
  release (): void {
    const { userId, threadId } = currentThread()
    this.#sessions.delete(keyOf(userId, threadId))
  }

  /** Calls `visit` for each session of all users, in the name of its own thread. */
  forEach (visit: (session: ThreadSession) => void): void {
    for (const session of this.#sessions.values()) enterSession(session, () => { visit(session) })
  }

  /** Resolves when every loop has ended. */
  async idle (): Promise<void> {
    await Promise.all([...this.#sessions.values()].map(async ({ loop }) => { await loop }))
  }
}

/** What a loop does for its thread is done in the name of the thread, not of the message that happened to start it. */
export function enterSession<T> ({ userId, threadId }: ThreadSession, fn: () => T): T {
  return enterThread(createIdentity({ userId, threadId }), fn)
}

function keyOf (userId: UserId, threadId: ThreadId): string {
  return JSON.stringify([userId, threadId])
}
