import { guardedPlaces } from '../context/guard.ts'
import { createCounter } from '../context/instruments.ts'
import { metricDefinitions } from '../context/metric-definitions.ts'
import { signatureAudiences, signatureRefusals } from '../context/signature.ts'
import { RunOutcome } from '../protocol/events.ts'
import { dropReasons } from './drop-count.ts'

/**
 * Lets the counters that alerts are about begin at 0, for every label that they can have. A series that appears with its first count has not
 * risen in the eyes of Prometheus: an alert on its increase would miss the first violation there ever was.
 */
export function startAtZero (agents: readonly string[]): void {
  const violations = createCounter(metricDefinitions.violations)
  for (const hop of guardedPlaces) {
    for (const kind of ['lost', 'crossed']) for (const witness of ['guard', 'inheritance']) violations.add(0, { hop, kind, witness })
  }
  const droppedSpans = createCounter(metricDefinitions.droppedSpans)
  for (const reason of dropReasons) droppedSpans.add(0, { reason })
  const refusedSignatures = createCounter(metricDefinitions.refusedSignatures)
  for (const audience of signatureAudiences) for (const reason of signatureRefusals) refusedSignatures.add(0, { audience, reason })
  createCounter(metricDefinitions.takenOverRuns).add(0)
  createCounter(metricDefinitions.lostLeases).add(0)
  const closedConnections = createCounter(metricDefinitions.closedConnections)
  for (const transport of ['socket', 'stream']) closedConnections.add(0, { transport, reason: 'slowConsumer' })
  const startedRuns = createCounter(metricDefinitions.startedRuns)
  const endedRuns = createCounter(metricDefinitions.endedRuns)
  for (const agent of agents) {
    startedRuns.add(0, { agent })
    for (const { const: status } of RunOutcome.anyOf) endedRuns.add(0, { agent, status })
  }
}
