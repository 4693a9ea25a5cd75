import type { RunIdentity } from './identity.ts'
import type { SignatureRefusal, Signer } from './signature.ts'

/** The identity and the trace of a run, as they wait in the queue for the process that executes it. */
export interface RunCarrier extends Pick<RunIdentity, 'userId' | 'threadId' | 'runId' | 'requestId'> {
  readonly connectionId: RunIdentity['connectionId'] | undefined
  readonly traceparent: string | undefined
}

/** How long a run may wait in the queue. After that nobody trusts it any more. */
const carrierLifeMs = 24 * 60 * 60 * 1_000

/** Only who has the key can queue a run that a worker executes: a row alone, whoever has written it, is not enough. */
export function signCarrier (signer: Signer, carrier: RunCarrier): string {
  return signer.sign('run', fieldsOf(carrier), carrierLifeMs)
}

/** Undefined for the very identity and trace that were signed; else why not, which has been counted. */
export function refuseCarrier (signer: Signer, carrier: RunCarrier, signature: string | null): SignatureRefusal | undefined {
  return signer.refuse('run', fieldsOf(carrier), signature)
}

function fieldsOf ({ userId, threadId, runId, requestId, connectionId, traceparent }: RunCarrier) {
  return [userId, threadId, runId, requestId, connectionId, traceparent]
}
