import type { DatabaseProtection } from '../protocol/run-isolation.ts'
import type { AccountStore } from './account-store.ts'
import type { EventStore } from './event-store.ts'
import type { LimitStore } from './limit-store.ts'
import type { MessageStore } from './message-store.ts'
import type { QueueStore } from './queue-store.ts'
import type { RunStore } from './run-store.ts'
import type { ThreadStore } from './thread-store.ts'
import type { TicketStore } from './ticket-store.ts'
import type { Upkeep } from './upkeep.ts'

/**
 * Everything that outlives the process. Each call reads its user from the active identity, does its work in one transaction
 * under row-level security, and throws `THREADLINE_NO_CONTEXT` outside of an identity. Foreign and unknown resources are told
 * apart nowhere. When the database cannot be reached, `THREADLINE_STORAGE_UNAVAILABLE` is thrown.
 */
export interface Storage {
  readonly threads: ThreadStore
  readonly messages: MessageStore
  readonly runs: RunStore
  readonly events: EventStore
  readonly queue: QueueStore
  readonly limits: LimitStore
  readonly tickets: TicketStore
  readonly account: AccountStore
  readonly upkeep: Upkeep
  /** Named by every position in a thread; another one means that sequences have started anew. */
  readonly epoch: string
  /**
   * The secret that the nodes of this database sign with: random, made once, 32 bytes. Only the role of the system can read it. Asked outside of
   * any identity.
   */
  signingKey (): Promise<Uint8Array>
  /** How the database protects the rows of the active user, as it stands in a unit of work of that user. */
  protection (): Promise<DatabaseProtection>
  /** Resolves when the database answers. */
  ping (): Promise<void>
  close (): Promise<void>
}
