import { isRunEventType, type MessageView, type PayloadOf, type RunStatus, type ThreadEvent } from '../../../lib/protocol/events.ts'
import { checkRunEvents } from '../../../lib/protocol/run-rules.ts'

/** Everything that is stored of a thread. */
export interface ThreadRecord {
  readonly threadId: string
  readonly user: string
  /** In the order of their turns. */
  readonly runs: readonly { readonly runId: string, readonly messageId: string, readonly status: RunStatus }[]
  readonly events: readonly ThreadEvent[]
  /** The visible branch. */
  readonly messages: readonly MessageView[]
  /** There may be others. */
  readonly branched?: boolean
}

/** A message that was accepted in the thread, or one more run for it. */
export interface AcceptedOne { readonly runId: string, readonly messageId: string, readonly content: string }

/**
 * What is wrong with the story that a thread tells: its sequences, its runs, each with one end, and one at a time, and, where nothing was
 * edited or answered again, the messages that were accepted, each once and in order.
 */
export function faultsOfThread (record: ThreadRecord, accepted: readonly AcceptedOne[]): readonly string[] {
  const faults = [...faultsOfEvents(record), ...faultsOfTurns(record)]
  for (const run of record.runs) faults.push(...faultsOfRun(run, eventsOf(record, run.runId)))
  faults.push(...faultsOfAcceptance(record, accepted))
  if (record.branched !== true) faults.push(...faultsOfMessages(record, accepted))
  return faults.map((fault) => `thread ${record.threadId}: ${fault}`)
}

export function endOf (events: readonly ThreadEvent[]): PayloadOf<'agent_completed'> | undefined {
  const end = events.find((event) => event.type === 'agent_completed')
  return end === undefined ? undefined : end.payload as PayloadOf<'agent_completed'> // its type was compared
}

/** What the run has said, piece by piece, since it was taken up for the last time. */
export function saidIn (events: readonly ThreadEvent[]): string {
  const since = events.findLastIndex((event) => event.type === 'agent_resumed') + 1
  return events.slice(since).filter((event) => event.type === 'agent_delta').map(({ payload }) => (payload as PayloadOf<'agent_delta'>).text).join('')
}

export function eventsOf ({ events }: ThreadRecord, runId: string): readonly ThreadEvent[] {
  return events.filter((event) => event.run_id === runId)
}

function faultsOfEvents ({ events, user, threadId, runs }: ThreadRecord): readonly string[] {
  const known = new Set(runs.map(({ runId }) => runId))
  return events.flatMap((event, index) => [
    ...(event.sequence === index + 1 ? [] : [`sequence ${event.sequence} stands where ${index + 1} should`]),
    ...(event.user_id === user && event.thread_id === threadId && isRunEventType(event.type) ? [] : [`${event.sequence} is not its own`]),
    ...(known.has(event.run_id) ? [] : [`${event.sequence} is of an unknown run ${event.run_id}`])
  ])
}

/** Runs start in the order of their turns, and none before the one before has ended. */
function faultsOfTurns ({ events, runs }: ThreadRecord): readonly string[] {
  const faults: string[] = []
  const turns = new Map(runs.map(({ runId }, index) => [runId, index] as const))
  let running: string | undefined
  let turn = -1
  for (const { type, run_id: runId, sequence } of events) {
    if (type === 'agent_started') {
      if (running !== undefined) faults.push(`${runId} starts at ${sequence} while ${running} runs`)
      if ((turns.get(runId) ?? 0) <= turn) faults.push(`${runId} starts at ${sequence} out of its turn`)
      turn = turns.get(runId) ?? turn
      running = runId
    } else if (type === 'agent_completed' && runId === running) running = undefined
  }
  return faults
}

function faultsOfRun ({ runId, status }: ThreadRecord['runs'][number], events: readonly ThreadEvent[]): readonly string[] {
  const ends = events.filter((event) => event.type === 'agent_completed')
  const end = endOf(events)
  const broken = checkRunEvents(events).filter(({ rule }) => rule !== 'missing' || status === 'completed')
  const faults = broken.map(({ rule, type }) => `${rule} (${type})`)
  if (ends.length !== 1) faults.push(`it has ${ends.length} ends`)
  if (end?.status !== status) faults.push(`it is ${status}, and told ${end?.status}`)
  const kept = end?.reason === 'rolled_back' ? '' : saidIn(events)
  if ((end?.content ?? '') !== kept) faults.push(`it has answered ${JSON.stringify(end?.content)} and said ${JSON.stringify(kept)}`)
  if ((end?.message_id === undefined) !== (end?.content === undefined)) faults.push('its answer has content or id alone')
  return faults.map((fault) => `run ${runId}: ${fault}`)
}

/** Each run is of something that was accepted, and the other way round. */
function faultsOfAcceptance ({ runs }: ThreadRecord, accepted: readonly AcceptedOne[]): readonly string[] {
  const messages = new Map(accepted.map(({ runId, messageId }) => [runId, messageId]))
  const known = new Set(runs.map(({ runId }) => runId))
  return [
    ...runs.flatMap(({ runId, messageId }) => messages.get(runId) === messageId ? [] : [`run ${runId} answers ${messageId} instead of ${messages.get(runId)}`]),
    ...accepted.flatMap(({ runId }) => known.has(runId) ? [] : [`a message was accepted for run ${runId}, which there is not`])
  ]
}

/** Each message that was accepted, with the answer of its run behind it, but for those of runs that were rolled back. */
function faultsOfMessages (record: ThreadRecord, accepted: readonly AcceptedOne[]): readonly string[] {
  const faults: string[] = []
  const expected = record.runs.flatMap(({ runId, messageId }) => {
    const content = accepted.find((one) => one.runId === runId)?.content
    const end = endOf(eventsOf(record, runId))
    if (end?.reason === 'rolled_back') return []
    const answer = end?.message_id === undefined ? [] : [`assistant ${end.message_id} ${runId} ${end.content}`]
    return [`user ${messageId} ${runId} ${content}`, ...answer]
  })
  const found = record.messages.map((message) => `${message.role} ${message.message_id} ${message.run_id} ${message.content}`)
  const others = record.messages.filter(({ message_id: id, sibling_ids: siblings }) => siblings.length !== 1 || siblings[0] !== id)
  faults.push(...others.map(({ message_id: id, sibling_ids: siblings }) => `message ${id} has the siblings ${siblings.join(', ')}`))
  const difference = found.findIndex((message, index) => message !== expected[index])
  const at = difference === -1 ? found.length : difference
  if (difference !== -1 || found.length !== expected.length) faults.push(`message ${at} is ${found[at]} instead of ${expected[at]}`)
  return faults
}
