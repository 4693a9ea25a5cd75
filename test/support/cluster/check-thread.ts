import type { PayloadOf, ThreadEvent } from '../../../lib/protocol/events.ts'
import type { HistoryViolation } from './check-history.ts'
import { markersIn, type RunRecord, type ThreadRecord } from './history.ts'

/** What is wrong with a thread's log by itself: its sequences, the stories of its runs, and whose words are in it. */
export function checkThread (thread: ThreadRecord): readonly HistoryViolation[] {
  const runs: ReadonlyMap<string, readonly ThreadEvent[]> = Map.groupBy(thread.events, ({ run_id: runId }) => runId)
  const unknown = [...runs.keys()].filter((runId) => !thread.runs.some((run) => run.runId === runId))
  return [
    ...checkSequences(thread),
    ...unknown.map((runId): HistoryViolation => ({ kind: 'unknown-run', text: `${thread.threadId} tells of the run ${runId}, which it does not have` })),
    ...thread.runs.flatMap((run) => checkRun(run, runs.get(run.runId) ?? [], thread))
  ]
}

function checkSequences ({ threadId, user, events }: ThreadRecord): readonly HistoryViolation[] {
  const violations: HistoryViolation[] = []
  let last = 0
  for (const event of events) {
    const { sequence } = event
    if (sequence === last) violations.push({ kind: 'doubled-sequence', text: `${threadId} has ${sequence} twice` })
    else if (sequence < last) violations.push({ kind: 'inversion', text: `${threadId} has ${sequence} behind ${last}` })
    else if (sequence > last + 1) violations.push({ kind: 'gap', text: `${threadId} has ${sequence} behind ${last}` })
    last = Math.max(last, sequence)
    if (event.user_id !== user || event.thread_id !== threadId) {
      violations.push({ kind: 'crossed', text: `${threadId} of ${user} has ${sequence} of ${event.user_id} in ${event.thread_id}` })
    }
  }
  return violations
}

function checkRun (run: RunRecord, events: readonly ThreadEvent[], thread: ThreadRecord): readonly HistoryViolation[] {
  const ends = events.filter((event) => event.type === 'agent_completed')
  const where = `run ${run.runId}`
  const violations: HistoryViolation[] = brokenStory(events).map((text) => ({ kind: 'broken-story', text: `${where} ${text}` }))
  const [end] = ends
  if (ends.length !== 1) violations.push({ kind: 'run-without-one-end', text: `${where} is ${run.status} and has ${ends.length} ends` })
  if (end === undefined) return violations
  const completed = end.payload as PayloadOf<'agent_completed'> // its type was compared
  if (completed.status !== run.status) violations.push({ kind: 'run-without-one-end', text: `${where} is ${run.status} and told ${completed.status}` })
  violations.push(...checkText(run, completed, saidIn(events), thread))
  violations.push(...checkMarkers(run, events, completed, thread))
  return violations
}

/** A run starts once and before all else, nothing follows its end, and each tool call is announced and completed once. */
function brokenStory (events: readonly ThreadEvent[]): readonly string[] {
  const broken: string[] = []
  const calls = new Map<string, 'executing' | 'completed'>()
  let state: 'waiting' | 'running' | 'ended' = 'waiting'
  for (const { type, sequence, payload } of events) {
    if (state === 'ended') broken.push(`tells ${type} at ${sequence} behind its end`)
    if (type === 'agent_started') {
      if (state === 'running') broken.push(`starts again at ${sequence}`)
      state = 'running'
    } else if (state === 'waiting' && type !== 'agent_completed') broken.push(`tells ${type} at ${sequence} before its start`)
    if (type === 'agent_completed') state = 'ended'
    const call = 'tool_call_id' in payload ? payload.tool_call_id : ''
    if (type === 'tool_executing' && calls.has(call)) broken.push(`announces ${call} twice`)
    if (type === 'tool_completed' && calls.get(call) !== 'executing') broken.push(`completes ${call} at ${sequence}, which is not open`)
    if (type === 'tool_executing') calls.set(call, 'executing')
    if (type === 'tool_completed') calls.set(call, 'completed')
  }
  for (const [call, stage] of calls) if (stage === 'executing') broken.push(`never completes ${call}`)
  return broken
}

/** What counts of what a run has said: with `agent_resumed` everything before it is void. */
export function saidIn (events: readonly ThreadEvent[]): string {
  const resumed = events.findLastIndex(({ type }) => type === 'agent_resumed')
  return events.slice(resumed + 1).filter(({ type }) => type === 'agent_delta').map(({ payload }) => (payload as PayloadOf<'agent_delta'>).text).join('')
}

function checkText (
  { runId }: RunRecord, end: PayloadOf<'agent_completed'>, said: string, { messages }: ThreadRecord
): readonly HistoryViolation[] {
  const violations: HistoryViolation[] = []
  const differs = (text: string): void => { violations.push({ kind: 'text-differs', text: `run ${runId} ${text}` }) }
  if ((end.content ?? '') !== said) differs(`told ${JSON.stringify(said)} and ended with ${JSON.stringify(end.content)}`)
  const kept = messages.filter((message) => message.role === 'assistant' && message.run_id === runId)
  if (kept.length !== (end.message_id === undefined ? 0 : 1)) differs(`is kept in ${kept.length} answers`)
  for (const { message_id: id, content } of kept) {
    if (id !== end.message_id || content !== end.content) differs(`ended with ${JSON.stringify(end.content)} and is kept as ${JSON.stringify(content)}`)
  }
  return violations
}

/** All that a run tells has the marker of its own message or none, and an answer has it. */
function checkMarkers (
  { runId, messageId }: RunRecord, events: readonly ThreadEvent[], end: PayloadOf<'agent_completed'>, { messages, threadId }: ThreadRecord
): readonly HistoryViolation[] {
  const [own] = markersIn(messages.find(({ message_id: id }) => id === messageId)?.content ?? '')
  const violations = events.flatMap(({ payload, sequence }) => markersIn(payload)
    .filter((found) => own !== undefined && found !== own)
    .map((found): HistoryViolation => ({ kind: 'crossed', text: `run ${runId} in ${threadId} is of ${own}, and ${sequence} says ${found}` })))
  if (end.status === 'completed' && own !== undefined && !markersIn(end.content ?? '').includes(own)) {
    violations.push({ kind: 'unanswered', text: `run ${runId} answers ${own} with ${JSON.stringify(end.content)}` })
  }
  return violations
}
