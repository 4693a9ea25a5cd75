import { isEvent } from '../is-event.ts'
import { markersIn, type History } from './history.ts'

export interface StorageFailures {
  /** Runs that have told, as their end, that the storage was not available: they can be asked for again. */
  readonly runs: ReadonlySet<string>
  /** What they were asked, for which it is open whether a tool has done anything. */
  readonly markers: ReadonlySet<string>
}

export function storageFailuresOf ({ threads }: History): StorageFailures {
  const ends = threads.flatMap(({ events }) => events.filter((event) => isEvent(event, 'agent_completed')))
  const failed = ends.filter(({ payload: { status, error } }) => status === 'failed' && error?.code === 'THREADLINE_STORAGE_UNAVAILABLE')
  const runs = new Set<string>(failed.map(({ run_id: runId }) => runId))
  const questions = threads.flatMap(({ messages }) => messages.filter(({ run_id: runId }) => runId !== null && runs.has(runId)))
  return { runs, markers: new Set(questions.flatMap(({ content }) => markersIn(content))) }
}
