import { isDeepStrictEqual } from 'node:util'
import type { ThreadEvent } from '../../../lib/protocol/events.ts'
import { endOf, eventsOf, saidIn, type ThreadRecord } from './check-thread.ts'
import type { Snapshot } from './snapshot.ts'
import type { Tab } from './tab.ts'

/** Whether the tab has read what is stored, up to the end. */
export function faultsOfReading (tab: Tab, record: ThreadRecord): readonly string[] {
  const reading = tab.readings.get(record.threadId)
  if (reading?.last === undefined) return []
  const stored = new Map(record.events.map((event) => [event.sequence, event]))
  const different = [...reading.events.values()].filter((event) => !isDeepStrictEqual(event, stored.get(event.sequence)))
  const snapshots = tab.snapshots.filter(({ threadId }) => threadId === record.threadId)
  return [
    ...different.map((event) => `${tab.name} was told ${JSON.stringify(event)} instead of ${JSON.stringify(stored.get(event.sequence))}`),
    ...(reading.last.after === record.events.length ? [] : [`${tab.name} has read to ${reading.last.after} of ${record.events.length} in ${record.threadId}`]),
    ...snapshots.flatMap((snapshot) => faultsOfSnapshot(snapshot, record).map((fault) => `${tab.name} at ${snapshot.sequence} of ${record.threadId}: ${fault}`))
  ]
}

/** What a tab was told of a thread, against the events up to there. */
function faultsOfSnapshot ({ sequence, activeRuns, messages }: Snapshot, record: ThreadRecord): readonly string[] {
  const until = (runId: string): readonly ThreadEvent[] => eventsOf(record, runId).filter((event) => event.sequence <= sequence)
  const faults = activeRuns.flatMap(({ run_id: runId, text, status }) => [
    ...(record.runs.some((run) => run.runId === runId) ? [] : [`${runId} is not its own`]),
    ...(endOf(until(runId)) === undefined ? [] : [`${runId} has ended and is active`]),
    ...(text === saidIn(until(runId)) ? [] : [`${runId} is told to have said ${JSON.stringify(text)} instead of ${JSON.stringify(saidIn(until(runId)))}`]),
    ...(status === 'queued' && until(runId).length > 0 ? [`${runId} has started and is queued`] : [])
  ])
  const active = new Set(activeRuns.map((run) => run.run_id))
  const forgotten = record.runs.filter(({ runId }) => until(runId).length > 0 && endOf(until(runId)) === undefined && !active.has(runId))
  faults.push(...forgotten.map(({ runId }) => `${runId} is active, and not told`))
  if (messages === undefined || record.branched === true) return faults
  if (messages.some((message) => message.thread_id !== record.threadId)) faults.push('told messages of another thread')
  const told = new Set(messages.map((message) => message.message_id))
  const due = record.messages.filter(({ run_id: runId }) => endOf(until(runId ?? '')) !== undefined)
  const lost = messages.length >= 50 ? [] : due.filter((message) => !told.has(message.message_id))
  return [...faults, ...lost.map((message) => `message ${message.message_id} is not told`)]
}
