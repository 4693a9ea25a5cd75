import type { ThreadlineEvent } from '../../client/threadline-event.ts'
import type { EventType, MessageView, ThreadView } from '../../lib/protocol/events.ts'
import { colourOf, type Paint } from './paint.ts'
import { oneLine, printable, shortId } from './printable.ts'

/** What to print: a line of its own, or a piece of a text that grows; `lead` stands before its first piece. */
export type Printed =
  | { readonly kind: 'line', readonly text: string }
  | { readonly kind: 'text', readonly of: string, readonly lead: string, readonly text: string }

/** What the picture of an event depends on beside the event. */
export interface View {
  readonly paint: Paint
  /** Where the connection is, to mark it in a list. */
  readonly threadId: string | null
  /** Whether the text of this run was already printed while it grew. */
  readonly isStreamed: (runId: string) => boolean
}

type Renderer<Name extends EventType> = (event: ThreadlineEvent<Name>, view: View) => readonly string[]

/** User, thread and run of the event in front, so that two terminals side by side show what belongs to whom. */
export function renderEvent (event: ThreadlineEvent, view: View): readonly Printed[] {
  const lead = whom(event, view.paint)
  if (event.type === 'agent_delta') {
    return [{ kind: 'text', of: event.run_id ?? '', lead: `${lead} ${view.paint('dim', '│')} `, text: printable(event.payload.text) }]
  }
  const render = Object.hasOwn(renderers, event.type) ? renderers[event.type] as Renderer<EventType> : unknown // the table pairs each type with its own
  const [first, ...more] = render(event, view)
  if (first === undefined) return []
  return [line(`${lead} ${first}`), ...more.map(line)]
}

const line = (text: string): Printed => ({ kind: 'line', text })

/** An event that was added after this was written. */
const unknown: Renderer<EventType> = ({ type, payload }, { paint }) => [`${paint('dim', oneLine(type))} ${compact(payload)}`]

const renderers: { readonly [Name in EventType]?: Renderer<Name> } = {
  connection_established: () => [], // told as a status
  pong: () => [],
  resumed: ({ payload: { replayed } }, { paint }) => replayed === 0 ? [] : [paint('dim', `↻ ${counted(replayed, 'event')} told again`)],
  resync_required: ({ payload }, { paint }) => [
    paint('yellow', `↻ what was missed is not kept any more; this is the thread now`), ...messages(payload.messages, paint)
  ],
  error: ({ payload: { code, message, retryable } }, { paint }) => [paint('red', `! ${code}: ${oneLine(message)}${retryable ? ' · try again' : ''}`)],
  message_accepted: ({ payload }, { paint }) => [paint('dim', payload.duplicate ? '✓ was accepted before' : '✓ accepted')],
  run_created: (_event, { paint }) => [paint('dim', '✓ started')],
  run_queued: ({ payload }, { paint }) => [paint('dim', `… waits as number ${payload.position}`)],
  runs_stopping: ({ payload: { run_ids: runs } }, { paint }) => [paint('dim', runs.length === 0 ? 'nothing runs here' : `stopping ${runs.map(shortId).join(', ')}`)],
  thread_created: ({ payload }, { paint }) => [`+ ${thread(payload, paint)}`],
  thread_updated: ({ payload }, { paint }) => [`= ${thread(payload, paint)}`],
  branch_selected: ({ payload }, { paint }) => [paint('dim', 'the thread goes on from here'), ...messages(payload.messages, paint)],
  search_results: ({ payload: { results } }, { paint }) => [
    results.length === 0 ? 'nothing found' : `found in ${counted(results.length, 'thread')}`,
    ...results.flatMap((found, index) => [`${String(index + 1).padStart(4)} ${thread(found.thread, paint)}`, `     ${oneLine(found.snippet)}`])
  ],
  thread_deleted: ({ payload }, { paint }) => [`− thread ${paint(colourOf(payload.thread_id), shortId(payload.thread_id))} is deleted`],
  thread_list: ({ payload: { threads, total } }, view) => [
    threads.length === 0 ? 'no threads yet' : `${threads.length} of ${counted(total, 'thread')}`,
    ...threads.map((each, index) => `${String(index + 1).padStart(4)} ${each.thread_id === view.threadId ? '→' : ' '} ${thread(each, view.paint)}`)
  ],
  thread_switched: ({ payload }, { paint }) => [`→ ${thread(payload.thread, paint)}`, ...messages(payload.messages, paint)],
  thread_history: ({ payload: { messages: shown, has_more: more } }, { paint }) => [
    shown.length === 0 ? 'no messages yet' : `${counted(shown.length, 'message')}${more ? ', and older ones' : ''}`,
    ...messages(shown, paint)
  ],
  typing: ({ payload }, { paint }) => payload.is_typing ? [paint('dim', 'is typing elsewhere')] : [],
  presence: ({ payload: { connections } }, { paint }) => [paint('dim', `${counted(connections, 'window')} in this thread`)],
  token_expiring: ({ payload }, { paint }) => [paint('dim', `the token expires at ${oneLine(payload.expires_at)}`)],
  token_renewed: (_event, { paint }) => [paint('dim', 'the token is renewed')],

  agent_started: ({ payload }, { paint }) => [`▶ ${paint('bold', oneLine(payload.agent))} ${paint('dim', '←')} ${oneLine(payload.input)}`],
  agent_resumed: (_event, { paint }) => [paint('dim', '↻ goes on in another process: what it has said so far is said again')],
  agent_thinking: ({ payload }, { paint }) => [paint('dim', `… ${oneLine(payload.message)}`)],
  tool_executing: ({ payload }, { paint }) => [`⚙ ${paint('bold', oneLine(payload.tool))} ${compact(payload.parameters)}`],
  tool_completed: ({ payload: { tool, success, duration_ms: ms, result, error } }, { paint }) => [
    `${success ? '✓' : paint('red', '✗')} ${paint('bold', oneLine(tool))} ${paint('dim', `${Math.round(ms)} ms`)} ` +
      (success ? compact(result) : paint('red', oneLine(error?.message ?? 'failed')))
  ],
  agent_completed: (event, view) => [ending(event, view.paint), ...answer(event, view)]
}

function whom ({ user_id: user, thread_id: thread, run_id: run }: ThreadlineEvent, paint: Paint): string {
  const where = thread === null || thread === undefined ? paint('dim', 'no thread') : paint(colourOf(thread), shortId(thread))
  return `${paint('bold', oneLine(user ?? '?', 32))} ${where}${run === undefined ? '' : paint('dim', `·${shortId(run)}`)}`
}

function thread ({ thread_id: id, title }: ThreadView, paint: Paint): string {
  return `thread ${paint(colourOf(id), shortId(id))} ${title === null ? paint('dim', 'untitled') : oneLine(title)}`
}

function messages (shown: readonly MessageView[], paint: Paint): readonly string[] {
  return shown.map(({ role, content }) => `   ${paint('dim', role === 'user' ? 'you  ' : 'agent')} ${oneLine(content)}`)
}

function ending ({ payload: { status, usage, reason, error } }: ThreadlineEvent<'agent_completed'>, paint: Paint): string {
  const tokens = usage === undefined ? '' : paint('dim', ` · ${usage.input_tokens} + ${usage.output_tokens} tokens`)
  if (status === 'completed') return `■ completed${tokens}`
  const why = error?.message ?? reason
  return `${paint('red', `✗ ${status}${why === undefined ? '' : `: ${oneLine(why)}`}`)}${tokens}`
}

/** The whole text, where its pieces were not seen: the terminal came later, or the model does not stream. */
function answer ({ run_id: run, payload }: ThreadlineEvent<'agent_completed'>, { isStreamed }: View): readonly string[] {
  if (payload.content === undefined || payload.content === '' || isStreamed(run ?? '')) return []
  return printable(payload.content).split('\n').map((text) => `  ${text}`)
}

function counted (count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

function compact (value: unknown): string {
  return value === undefined ? '' : oneLine(typeof value === 'string' ? value : JSON.stringify(value), 120)
}
