import { currentThread, tryCurrentThread } from '../context/current-thread.ts'
import type { RunId, ThreadId, UserId } from '../protocol/ids.ts'

/** What this process is doing in one thread: its active runs, and the loop that takes them from the queue. */
export interface ThreadSession {
  readonly userId: UserId
  readonly threadId: ThreadId
  /** Aborting a controller stops its run; the reason says why. */
  readonly active: Map<RunId, AbortController>
  /** Set when a run was queued after the loop had last looked. */
  requested: boolean
  /** Set when the database may hold a running run that nobody executes any more. */
  doubtful: boolean
  loop: Promise<void> | undefined
}

/**
 * The live sessions of this process. It can only be asked for the thread that is active: nobody can name another user's
 * session. There is at most one for a user and thread, however many ask at the same time.
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
    const session: ThreadSession = { userId, threadId, active: new Map(), requested: false, doubtful: false, loop: undefined }
    this.#sessions.set(key, session)
    return session
  }

  find (): ThreadSession | undefined {
    const identity = tryCurrentThread()
    return identity === undefined ? undefined : this.#sessions.get(keyOf(identity.userId, identity.threadId))
  }

  /** Forgets the active thread's session. Other sessions are untouched. */
  release (): void {
    const { userId, threadId } = currentThread()
    this.#sessions.delete(keyOf(userId, threadId))
  }

  /** Stops every active run, whoever it serves, as the server itself does at its end. */
  abortAll (reason: Error): void {
    for (const session of this.#sessions.values()) {
      for (const controller of session.active.values()) controller.abort(reason)
    }
  }

  /** Resolves when every loop has ended. */
  async idle (): Promise<void> {
    await Promise.all([...this.#sessions.values()].map(async ({ loop }) => { await loop }))
  }
}

/**
 * The controller of a run of the session, made by whoever asks first: the loop that executes the run, or one who stops it after the
 * database has given it to the loop and before the loop knows.
 */
export function controllerOf (session: ThreadSession, runId: RunId): AbortController {
  const controller = session.active.get(runId) ?? new AbortController()
  session.active.set(runId, controller)
  return controller
}

function keyOf (userId: UserId, threadId: ThreadId): string {
  return JSON.stringify([userId, threadId])
}
