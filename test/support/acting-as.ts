import { enterThread } from '../../lib/context/current-thread.ts'
import { createIdentity } from '../../lib/context/identity.ts'
import { toUserId, type ThreadId } from '../../lib/protocol/ids.ts'

/** `fn` in the name of a user, as a request of theirs would call it. */
export function actingAs<T> (user: string, fn: () => T, threadId?: ThreadId): T {
  return enterThread(createIdentity({ userId: toUserId(user), threadId }), fn)
}
