import { enterThread } from '../../lib/context/current-thread.ts'
import { createRunIdentity, type Identity, type RunIdentity } from '../../lib/context/identity.ts'
import { newRunId, newThreadId, toUserId } from '../../lib/protocol/ids.ts'

/** A run of its own, in a thread of its own, for a user of that name. */
export function newRun (user: string): RunIdentity {
  const threadId = newThreadId()
  return createRunIdentity({ userId: toUserId(user), threadId, runId: newRunId(threadId) })
}

/** `fn`, as work for nobody: what is active around the test is not active in it. */
export async function inRun<T> (identity: Identity, fn: () => Promise<T>): Promise<T> {
  return await enterThread(identity, fn)
}
