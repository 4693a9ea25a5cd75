import { currentThread, tryCurrentIdentity } from '../context/current-thread.ts'
import { guard } from '../context/guard.ts'
import { threadOfRun, type RunId, type ThreadId, type UserId } from '../protocol/ids.ts'

interface Entry {
  readonly threadId: ThreadId
  readonly controller: AbortController
  lastReadAt: number
}

interface UserRuns {
  readonly entries: Map<RunId, Entry>
  /** The reverse of `entries`; a thread without runs is not in it. */
  readonly runs: Map<ThreadId, Set<RunId>>
}

/**
 * The live runs of this process: each with its thread and with the controller that stops it, and each thread with its runs. There is no
 * other live registry of runs. It answers for the user that is active only: another user's run is not there. Reading an entry keeps it from
 * being swept.
 */
export class RunRegistry {
  readonly #users = new Map<UserId, UserRuns>()
  readonly #now: () => number

  constructor (now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** Runs of all users. */
  get size (): number {
    return this.#users.values().reduce((sum, { entries }) => sum + entries.size, 0)
  }

  /**
   * The controller of a run of the active thread, made by whoever asks first: the loop that executes the run, or one who stops it after
   * the database has given it to the loop and before the loop knows. Throws `THREADLINE_CONTEXT_MISMATCH` for a run of another thread.
   */
  register (runId: RunId): AbortController {
    const { userId, threadId } = currentThread()
    guard({ userId, threadId: threadOfRun(runId) }, 'run-registry')
    const found = this.#read(runId)
    if (found !== undefined) return found.controller
    const own = this.#users.get(userId) ?? { entries: new Map(), runs: new Map() }
    const entry = { threadId, controller: new AbortController(), lastReadAt: this.#now() }
    this.#users.set(userId, own)
    own.entries.set(runId, entry)
    own.runs.set(threadId, (own.runs.get(threadId) ?? new Set()).add(runId))
    return entry.controller
  }

  /** False when the user has no such run here. */
  unregister (runId: RunId): boolean {
    const userId = tryCurrentIdentity()?.userId
    const own = userId === undefined ? undefined : this.#users.get(userId)
    return userId !== undefined && own !== undefined && this.#remove(userId, own, runId)
  }

  threadOf (runId: RunId): ThreadId | undefined {
    return this.#read(runId)?.threadId
  }

  /** Aborting it stops the run; the reason says why. */
  controllerOf (runId: RunId): AbortController | undefined {
    return this.#read(runId)?.controller
  }

  runsOf (threadId: ThreadId): readonly RunId[] {
    const runs = [...this.#own()?.runs.get(threadId) ?? []]
    for (const runId of runs) this.#read(runId)
    return runs
  }

  /** Forgets entries of all users that nobody has registered or read for that long. Their runs are not stopped. */
  sweep (maxAgeMs: number): void {
    const oldest = this.#now() - maxAgeMs
    for (const [userId, own] of this.#users) {
      for (const [runId, { lastReadAt }] of own.entries) if (lastReadAt <= oldest) this.#remove(userId, own, runId)
    }
  }

  /** Stops every run, whoever it serves, as the server itself does at its end. */
  abortAll (reason: Error): void {
    for (const { entries } of this.#users.values()) for (const { controller } of entries.values()) controller.abort(reason)
  }

  /** Forgets everything. */
  close (): void {
    this.#users.clear()
  }

  #own (): UserRuns | undefined {
    const userId = tryCurrentIdentity()?.userId
    return userId === undefined ? undefined : this.#users.get(userId)
  }

  #read (runId: RunId): Entry | undefined {
    const entry = this.#own()?.entries.get(runId)
    if (entry !== undefined) entry.lastReadAt = this.#now()
    return entry
  }

  #remove (userId: UserId, own: UserRuns, runId: RunId): boolean {
    const entry = own.entries.get(runId)
    if (entry === undefined) return false
    own.entries.delete(runId)
    const siblings = own.runs.get(entry.threadId)
    siblings?.delete(runId)
    if (siblings?.size === 0) own.runs.delete(entry.threadId)
    if (own.entries.size === 0) this.#users.delete(userId)
    return true
  }
}
