import type { RunId, ThreadId, UserId } from '../protocol/ids.ts'
import type { RunStep } from './run-step.ts'

/** Who executes a run, and for how long nobody else may when nothing is heard of it. */
export interface Lease {
  readonly worker: string
  readonly leaseMs: number
}

/** One attempt of a run: the fence that keeps a stale execution from writing. */
export interface LeasedRun {
  readonly runId: RunId
  readonly attempt: number
}

export interface RenewedRun extends LeasedRun {
  /** Why the run is to stop, when somebody has asked for it on another node. */
  readonly stopReason: string | null
}

/** A thread in which a run can be taken. */
export interface ClaimableThread {
  readonly userId: UserId
  readonly threadId: ThreadId
}

/**
 * The runs of all users as a queue. The table of the runs is the queue itself: a run is queued by the transaction that accepts its message.
 * Leases are counted by the database's clock alone. What concerns one run is done in the name of the active user.
 */
export interface QueueStore {
  /**
   * Threads in which a run can be taken: one is queued and none is running, or the lease of the running one is over. They come as if each was given
   * to the user who then has the fewest runs under way: to those who have waited longest among several, and of each user the thread that has waited
   * longest. At most `limit`, and only those that have waited for `waitedMs`. Those that nobody can work on, since an id in their row is none of ours, are
   * left out and counted. Asked outside of any identity.
   */
  claimable (options: { limit: number, waitedMs?: number | undefined }): Promise<readonly ClaimableThread[]>
  /** Renews the leases of runs of any users that this worker still has, and answers with those. Asked outside of any identity. */
  renew (lease: Lease, runs: readonly LeasedRun[]): Promise<readonly RenewedRun[]>
  /**
   * Gives a run of the active user back: its lease is over at once. Nothing happens when somebody else has it. `inVain`: its attempt counts as one
   * whose process has died, and what brings every process down is not begun again for ever.
   */
  release (run: LeasedRun, options?: { inVain?: boolean }): Promise<void>
  /** Asks whoever executes a run of the active user to stop it. Who asks first says why; false when it is not running, or was asked for another reason. */
  requestStop (runId: RunId, reason: string): Promise<boolean>
  /** What the run has done and need not do again, in the order in which it was stored. */
  steps (runId: RunId): Promise<readonly RunStep[]>
  /** How many runs are queued and how many running, of all users. Asked outside of any identity. */
  depth (): Promise<{ readonly queued: number, readonly running: number }>
}
