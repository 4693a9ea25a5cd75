import { channel } from 'node:diagnostics_channel'
import { SpanStatusCode, trace } from '@opentelemetry/api'
import { ThreadlineError } from '../errors.ts'
import type { RunId, ThreadId, UserId } from '../protocol/ids.ts'
import { attributes } from './attributes.ts'
import { tryCurrentIdentity } from './current-thread.ts'
import { hops } from './hop.ts'
import type { Identity } from './identity.ts'
import { createCounter } from './instruments.ts'
import { metricDefinitions } from './metric-definitions.ts'

/** Whose a resource is. What is absent is not compared; a thread of `null` is in no thread, and matches none. */
export interface Owner {
  readonly userId: UserId
  readonly threadId?: ThreadId | null | undefined
  readonly runId?: RunId | undefined
}

/** Where a check stands: one of the hops, a store, or a span that belongs to no hop. */
export const guardedPlaces = [...hops, 'storage', 'connection-registry', 'event-log', 'event-bus', 'run-registry', 'span'] as const
export type GuardedPlace = typeof guardedPlaces[number]

/** Published on the diagnostics channel `threadline:violation`, for logs and tests. */
export interface Violation {
  readonly place: GuardedPlace
  /** `guard`: an access that was refused. `inheritance`: a span that started with another identity than it should have inherited. */
  readonly witness: 'guard' | 'inheritance'
  /** `lost`: there was no identity at all. `crossed`: it was somebody else's, or another thread's. */
  readonly kind: 'lost' | 'crossed'
  readonly owner: Owner
  readonly identity: Identity | undefined
}

export const violationChannel = channel('threadline:violation')

const violations = createCounter(metricDefinitions.violations)

/**
 * Compares a resource's owner with the active identity. Called before anything is read from a store or a live registry, and at
 * the last step before a socket is written to. A mismatch is refused with `THREADLINE_CONTEXT_MISMATCH`, counted and put
 * on the active span; it is never repaired.
 */
export function guard (owner: Owner, place: GuardedPlace): void {
  const identity = tryCurrentIdentity()
  if (identity !== undefined && isOwner(identity, owner)) return
  refuse({ place, witness: 'guard', kind: identity === undefined ? 'lost' : 'crossed', owner, identity })
}

export function isOwner (identity: Identity, owner: Owner): boolean {
  return identity.userId === owner.userId &&
    (owner.threadId === undefined || identity.threadId === owner.threadId) &&
    (owner.runId === undefined || identity.runId === owner.runId)
}

function refuse (violation: Violation): never {
  const error = new ThreadlineError('THREADLINE_CONTEXT_MISMATCH')
  tellViolation(violation)
  const span = trace.getActiveSpan()
  span?.setAttributes({ [attributes.violation]: violation.kind, [attributes.errorType]: error.code })
  span?.setStatus({ code: SpanStatusCode.ERROR, message: error.message })
  throw error
}

/** Counts a violation and publishes it, for whoever has found one. */
export function tellViolation (violation: Violation): void {
  const { place, kind, witness } = violation
  violations.add(1, { hop: place, kind, witness })
  violationChannel.publish(violation)
}

