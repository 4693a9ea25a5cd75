import type { UserId } from '../protocol/ids.ts'

export interface SentFrames {
  readonly userId: UserId
  readonly count: number
}

/** What users may do in a while, counted for all nodes of the database together, by its clock. */
export interface LimitStore {
  /**
   * Counts frames of any number of users, in one statement, and says of each item whether it was within the limit; one that was not is not counted. A
   * sliding window: in no span of `windowMs` are there more than `limit`. Room is free again at most a tenth of the window late. Windows of
   * different length are counted apart. After a crash of the database they are empty. Asked outside of any identity.
   */
  admit (frames: readonly SentFrames[], window: { readonly limit: number, readonly windowMs: number }): Promise<readonly boolean[]>
}
