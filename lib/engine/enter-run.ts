import { refuseCarrier } from '../context/carrier.ts'
import { enterThread } from '../context/current-thread.ts'
import { createRunIdentity } from '../context/identity.ts'
import type { Signer } from '../context/signature.ts'
import { parseTraceparent } from '../context/traceparent.ts'
import type { RunRecord } from '../stores/run-record.ts'

/**
 * A run taken from the queue is worked on under its own identity, in the trace of its message, when a node of ours has signed both. Of one
 * that nobody of ours has queued, which has been counted, only the owner is believed, as the database has said it: it gets a request and a trace of its own, and must
 * not be executed.
 */
export function enterRun<T> (run: RunRecord, signer: Signer, fn: (trusted: boolean) => T): T {
  const { userId, threadId, runId, requestId } = run
  const connectionId = run.connectionId ?? undefined
  const traceparent = run.traceparent ?? undefined
  const trusted = refuseCarrier(signer, { userId, threadId, runId, requestId, connectionId, traceparent }, run.signature) === undefined
  if (!trusted) return enterThread(createRunIdentity({ userId, threadId, runId }), () => fn(false))
  const identity = createRunIdentity({ userId, threadId, runId, requestId, connectionId })
  return enterThread(identity, () => fn(true), { parent: parseTraceparent(traceparent) })
}
