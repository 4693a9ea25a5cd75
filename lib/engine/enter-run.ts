import { enterThread } from '../context/current-thread.ts'
import { createRunIdentity } from '../context/identity.ts'
import { parseTraceparent } from '../context/traceparent.ts'
import type { RunRecord } from '../storage/storage.ts'

/** A run taken from the queue is worked on under its own identity, in the trace of its message. */
export function enterRun<T> (run: RunRecord, fn: () => T): T {
  const { userId, threadId, runId, requestId, connectionId } = run
  const identity = createRunIdentity({ userId, threadId, runId, requestId, connectionId: connectionId ?? undefined })
  return enterThread(identity, fn, { parent: parseTraceparent(run.traceparent) })
}
