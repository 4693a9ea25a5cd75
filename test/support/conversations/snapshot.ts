import type { ActiveRun, MessageView } from '../../../lib/protocol/events.ts'

/** What answers tell of where a thread stands. */
export interface ThreadStanding {
  readonly sequence: number
  readonly epoch: string
  readonly active_runs: readonly ActiveRun[]
  /** The newest of the visible branch. */
  readonly messages?: readonly MessageView[]
}

/** What a tab was told of a thread at one moment. */
export interface Snapshot {
  readonly threadId: string
  readonly sequence: number
  readonly activeRuns: readonly ActiveRun[]
  readonly messages: readonly MessageView[] | undefined
}
