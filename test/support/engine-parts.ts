import { randomBytes } from 'node:crypto'
import { signCarrier } from '../../lib/context/carrier.ts'
import type { Identity } from '../../lib/context/identity.ts'
import { createSigner, type Signer } from '../../lib/context/signature.ts'
import type { EngineOptions } from '../../lib/engine/engine.ts'
import { createLoneBus } from '../../lib/events/lone-bus.ts'
import type { QueueStore } from '../../lib/stores/queue-store.ts'
import type { AcceptedMessage } from '../../lib/stores/run-store.ts'

type Parts = Pick<EngineOptions, 'queue' | 'signer' | 'bus' | 'lease' | 'executes' | 'hasPeers' | 'outlived' | 'maxRunAttempts'>

export const testKey = randomBytes(32)

/** Signs the runs of tests, and is trusted by the engines of tests. */
export const testSigner: Signer = createSigner([testKey])

/** Limits that no test comes to. */
export const patientLimits = { runTimeoutMs: 60_000, stepTimeoutMs: 60_000, toolTimeoutMs: 60_000, stepLimit: 1, waitNoticeMs: 60_000 } satisfies Partial<EngineOptions>

/** What makes an engine the only one of its queue, which ends with it. */
export function alone (queue: QueueStore, changes: Partial<Parts> = {}): Parts {
  return {
    queue,
    signer: testSigner,
    bus: createLoneBus('alone'),
    lease: { worker: 'alone', leaseMs: 60_000 },
    executes: true,
    hasPeers: false,
    outlived: false,
    maxRunAttempts: 3,
    ...changes
  }
}

/** A message as a node would have signed it that accepts it for the user. */
export function signed ({ userId, requestId, connectionId }: Identity, message: AcceptedMessage, signer = testSigner): AcceptedMessage {
  const { threadId, runId, traceparent } = message
  return { ...message, signature: signCarrier(signer, { userId, threadId, runId, requestId, connectionId, traceparent }) }
}
