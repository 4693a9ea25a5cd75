import type { RunId, ThreadId, UserId } from '../protocol/ids.ts'

/** Who executes runs, and for how long nobody else may take one of them when nothing is heard of it. */
export interface Lease {
  readonly worker: string
  readonly leaseMs: number
}

/** One attempt of a run. */
export interface LeasedRun {
  readonly runId: RunId
  readonly attempt: number
}

export interface RenewedRun extends LeasedRun {
  readonly stopReason: string | null
}

/** A thread in which a run can be taken. */
export interface ClaimableThread {
  readonly userId: UserId
  readonly threadId: ThreadId
}

/** What a worker asks of the queue, outside of any identity; its promises are told at `lib/storage`'s port of the same name. */
export interface QueueStore {
  claimable (options: { limit: number, waitedMs?: number | undefined }): Promise<readonly ClaimableThread[]>
  renew (lease: Lease, runs: readonly LeasedRun[]): Promise<readonly RenewedRun[]>
}
