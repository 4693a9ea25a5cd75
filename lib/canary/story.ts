import { isRunEventType, type RunEventType, type ServerEvent } from '../protocol/events.ts'
import { toRunId } from '../protocol/ids.ts'
import { checkRunEvents } from '../protocol/run-rules.ts'
import { canaryAgent } from './canary-agent.ts'
import { isEventOf } from './canary-client.ts'
import type { Seat } from './seat.ts'
import { spanOf, type Watch } from './watch.ts'

/** Says something that nobody else says, and resolves when the run that answers it has told its end. Throws when it was not accepted. */
export async function say ({ client, marker, said }: Seat): Promise<void> {
  const content = `${marker} ${said.length + 1}`
  const accepted = await client.ask({ type: 'user_message', payload: { content, agent: canaryAgent.name } })
  if (!isEventOf(accepted, 'message_accepted')) throw new Error(`A canary's message was not accepted: ${errorOf(accepted)}`)
  const runId = toRunId(accepted.payload.run_id)
  said.push({ content, runId })
  await client.until((event) => event.type === 'agent_completed' && event.run_id === runId)
}

/** Throws when a canary was not told, once and in order, all that its own runs have told, and nothing else. */
export function checkStory ({ client, said }: Seat): void {
  const events = client.events.filter(isRunEvent)
  const sequences = events.map(({ sequence }) => sequence)
  if (sequences.some((sequence, index) => sequence !== index + 1)) throw new Error(`A canary was told the events ${sequences.join(', ')} of its thread`)
  const runs = Map.groupBy(events, ({ run_id: runId }) => runId)
  if (runs.size !== said.length) throw new Error(`A canary was told of ${runs.size} runs and has begun ${said.length}`)
  for (const { content, runId } of said) checkRun(runs.get(runId) ?? [], content)
}

/** Told by the engine in its own words. */
const engineOwn: readonly RunEventType[] = ['agent_thinking', 'agent_resumed']

function checkRun (told: readonly ServerEvent<RunEventType>[], content: string): void {
  const [broken] = checkRunEvents(told, { usesTools: true })
  if (broken !== undefined) throw new Error(`A canary's run broke a rule: ${broken.rule} ${broken.type}`)
  const without = told.find(({ type, payload }) => !engineOwn.includes(type) && !JSON.stringify(payload).includes(content))
  if (without !== undefined) throw new Error(`A canary's message is not in ${without.type}`)
  const answer = told.at(-1)
  if (answer === undefined || !isEventOf(answer, 'agent_completed') || answer.payload.content !== content) throw new Error('A canary was not answered with its own message')
}

/** Raises a crossing when a tool of a canary's run has served somebody else. */
export function checkTools ({ client, userId, threadId }: Seat, watch: Watch): void {
  for (const event of client.events) {
    if (!isEventOf(event, 'tool_completed') || !event.payload.success) continue
    const { user_id: user, thread_id: thread } = event.payload.result as { readonly user_id?: unknown, readonly thread_id?: unknown } // of the canary's one tool
    if (user !== userId || thread !== threadId) watch.raise({ where: 'received', what: event.type, canary: userId, threadId }, spanOf(event))
  }
}

export function errorOf (event: ServerEvent): string {
  return isEventOf(event, 'error') ? event.payload.code : event.type
}

function isRunEvent (event: ServerEvent): event is ServerEvent<RunEventType> {
  return isRunEventType(event.type)
}
