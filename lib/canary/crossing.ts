import { channel } from 'node:diagnostics_channel'
import { context, SpanStatusCode, trace, type SpanContext } from '@opentelemetry/api'
import { attributes } from '../context/attributes.ts'
import { identityAttributes, tryCurrentIdentity } from '../context/current-thread.ts'
import type { Logger } from '../context/logger.ts'
import type { ConnectionId, ThreadId, UserId } from '../protocol/ids.ts'
import { canaryMetrics } from './canary-metrics.ts'

/**
 * Where it was found. `frame`: somebody else's connection was sent a canary's event. `response`: a request was answered with a canary's marker.
 * `received`: a canary was sent somebody else's event. `read` and `search`: a canary could read what is another's. `guard`: an access of a
 * canary, or to what is a canary's, was refused by the guard.
 */
export const crossingPlaces = ['frame', 'response', 'received', 'read', 'search', 'guard'] as const
export type CrossingPlace = typeof crossingPlaces[number]

/** What of a canary was found in the wrong place. It names ids only, and nothing that anybody has said. */
export interface Crossing {
  readonly where: CrossingPlace
  /** The command, store, event or route, or the guarded place. */
  readonly what: string
  /** Whose it is. */
  readonly canary: UserId
  readonly threadId?: ThreadId | undefined
  /** The user and the connection where it was found, when they are known. */
  readonly foundAt?: UserId | undefined
  readonly connectionId?: ConnectionId | undefined
}

const outcomes = ['ok', 'failed'] as const

/** How a round ended. It is `ok` when it was played to its end and nothing was found. */
export interface RoundEnd { readonly outcome: typeof outcomes[number], readonly crossings: number }

/** Publishes a `Crossing` as it is found. */
export const crossingChannel = channel('threadline:canary')
/** Publishes a `RoundEnd` when all that the round has stored is gone again. */
export const roundChannel = channel('threadline:canary:round')

const tracer = trace.getTracer('threadline')

/**
 * Raises the alarm: a counter, an error in the log, the diagnostics channel, and a span that is marked as a violation, in the active trace or,
 * without one, in that of `found`, so that a sampler by tails keeps it.
 */
export function raiseCrossing (crossing: Crossing, logger: Logger, found?: SpanContext): void {
  const { where, what, canary, threadId, foundAt, connectionId } = crossing
  canaryMetrics.crossed.add(1, { where })
  const identity = tryCurrentIdentity()
  const parent = found === undefined || trace.getActiveSpan() !== undefined ? context.active() : trace.setSpanContext(context.active(), found)
  const span = tracer.startSpan('canary.crossed', {
    attributes: { ...(identity === undefined ? {} : identityAttributes(identity)), [attributes.violation]: 'crossed', [attributes.canaryPlace]: where }
  }, parent)
  span.setStatus({ code: SpanStatusCode.ERROR, message: `${where}: ${what}` })
  context.with(trace.setSpan(parent, span), () => {
    const fields = { where, what, canary, canary_thread_id: threadId, found_at: foundAt, connection_id: connectionId }
    logger.error(fields, 'Isolation is broken: a canary was found in the wrong place')
    crossingChannel.publish(crossing)
  })
  span.end()
}

/** Counts a round, and notes when the last one was well. */
export function tellRound (end: RoundEnd): void {
  canaryMetrics.rounds.add(1, { outcome: end.outcome })
  if (end.outcome === 'ok') canaryMetrics.lastSuccess.record(Math.floor(Date.now() / 1_000))
  roundChannel.publish(end)
}

/** Before the first round: to Prometheus, a series that appears with its first count has not risen. */
export function startAtZero (): void {
  for (const where of crossingPlaces) canaryMetrics.crossed.add(0, { where })
  for (const outcome of outcomes) canaryMetrics.rounds.add(0, { outcome })
  canaryMetrics.lastSuccess.record(0)
}
