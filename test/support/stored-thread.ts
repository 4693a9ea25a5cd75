import { enterThread } from '../../lib/context/current-thread.ts'
import { createIdentity } from '../../lib/context/identity.ts'
import type { MessageView, ThreadEvent } from '../../lib/protocol/events.ts'
import { toUserId, type ThreadId } from '../../lib/protocol/ids.ts'
import type { RunRecord } from '../../lib/stores/run-record.ts'
import type { Storage } from '../../lib/stores/storage.ts'

/** `fn`, as work for a user, in a thread or in none. */
export async function asUser<T> (user: string, fn: () => Promise<T>, threadId?: ThreadId): Promise<T> {
  return await enterThread(createIdentity({ userId: toUserId(user), threadId }), fn)
}

export interface StoredThread {
  readonly messages: readonly MessageView[]
  /** Newest first. */
  readonly runs: readonly RunRecord[]
  readonly events: readonly ThreadEvent[]
}

/** Everything that is stored of a thread, as its user finds it. */
export async function readThread (storage: Storage, user: string, threadId: ThreadId): Promise<StoredThread> {
  return await asUser(user, async () => {
    const { messages } = await storage.messages.history(threadId, { limit: 1_000 })
    const { runs } = await storage.runs.list(threadId, { limit: 1_000 })
    const events = await readEvents(storage, threadId, 10_000)
    return { messages, runs, events }
  })
}

/** The first `limit` events of a thread of the active user, all of which must still be kept. */
export async function readEvents (storage: Pick<Storage, 'events'>, threadId: ThreadId, limit: number): Promise<readonly ThreadEvent[]> {
  const events = await storage.events.read(threadId, 0, limit)
  if (events === 'expired') throw new Error(`Thread ${threadId} has lost events`)
  return events
}
