import { enterThread } from '../context/current-thread.ts'
import { createIdentity } from '../context/identity.ts'
import type { Engine } from '../engine/engine.ts'
import type { EventLog } from '../events/event-log.ts'
import type { ThreadView } from '../protocol/events.ts'
import { toThreadId, type ThreadId, type UserId } from '../protocol/ids.ts'
import type { Storage } from '../stores/storage.ts'

export interface RemoveOptions {
  readonly storage: Pick<Storage, 'threads'>
  readonly engine: Pick<Engine, 'stop' | 'idle'>
  readonly log: Pick<EventLog, 'forget'>
}

/** How long a stopped run may take to tell its end. */
const endingMs = 2_000
const pageSize = 100

/** Removes those threads of a user for good that are to go: at most a hundred of those in use, and of those that are deleted. */
export async function removeThreads (userId: UserId, isToGo: (thread: ThreadView) => boolean, options: RemoveOptions): Promise<void> {
  const { threads } = options.storage
  await enterThread(createIdentity({ userId }), async () => {
    for (const state of ['active', 'deleted'] as const) {
      const page = await threads.list({ limit: pageSize, state })
      for (const thread of page.threads.filter(isToGo)) await removeThread(userId, toThreadId(thread.thread_id), state === 'active', options)
    }
  })
}

async function removeThread (userId: UserId, threadId: ThreadId, inUse: boolean, { storage, engine, log }: RemoveOptions): Promise<void> {
  await enterThread(createIdentity({ userId, threadId }), async () => {
    if (inUse) {
      await engine.stop({ reason: 'cancelled' })
      await engine.idle(endingMs)
      await storage.threads.remove(threadId)
    }
    await storage.threads.purge(threadId)
    log.forget(threadId)
  })
}
