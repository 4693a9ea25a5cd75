import { createHash } from 'node:crypto'
import type { EventType, MessageView, ServerEvent, ThreadEvent } from '../../../lib/protocol/events.ts'
import { markerOf, type ClientRecord, type History, type Received, type ThreadRecord } from './history.ts'

/** Parts of a history that can be changed at will, so that a test can plant what must not be. */
export type Changeable<T> = T extends string ? T : T extends object ? { -readonly [Key in keyof T]: Changeable<T[Key]> } : T

const users = ['alice', 'bob']
const runsPerThread = 2

/**
 * A history in which everything is as it should be: two users with a thread each, two runs in each, the second of which went on
 * on another worker in the middle of its tool call, and two clients each, one of which lost its connection and came back.
 */
export function makeHistory (): Changeable<History> {
  const threads = users.map(makeThread)
  const clients = threads.flatMap((thread) => [steadyClient(thread), returningClient(thread)])
  const history: History = { clients, threads }
  return JSON.parse(JSON.stringify(history)) as Changeable<History> // a copy in which nothing is shared
}

function makeThread (user: string): ThreadRecord {
  const threadId = uuidOf(user)
  const events: ThreadEvent[] = []
  const messages: MessageView[] = []
  const runs = Array.from({ length: runsPerThread }, (_run, number) => {
    const runId = `run_${threadId}_${uuidOf(`${user} run ${number}`)}`
    const [messageId, answerId] = [uuidOf(`${user} question ${number}`), uuidOf(`${user} answer ${number}`)]
    const content = `${markerOf(user, threadId, number)} and so on`
    const tell = (type: string, payload: object): void => { events.push(eventOf({ user, threadId, runId, sequence: events.length + 1 }, type, payload)) }
    tellRun(tell, { messageId, answerId, content, resumed: number % 2 === 1 })
    messages.push(messageOf(threadId, runId, 'user', messageId, content), messageOf(threadId, runId, 'assistant', answerId, `Heard ${content}`))
    return { runId, messageId, status: 'completed' as const }
  })
  return { user, threadId, events, messages, runs }
}

function tellRun (
  tell: (type: string, payload: object) => void,
  { messageId, answerId, content, resumed }: { messageId: string, answerId: string, content: string, resumed: boolean }
): void {
  tell('agent_started', { agent: 'recorder', message_id: messageId, input: content })
  tell('agent_thinking', { message: 'Thinking', step: 0 })
  if (resumed) tell('agent_delta', { text: 'Heard half of ', step: 1 })
  tell('tool_executing', { tool_call_id: 'call-1', tool: 'record', parameters: { content } })
  if (resumed) tell('agent_resumed', { attempt: 2 })
  tell('tool_completed', { tool_call_id: 'call-1', tool: 'record', success: true, duration_ms: 1, result: content })
  tell('agent_delta', { text: 'Heard ', step: 2 })
  tell('agent_delta', { text: content, step: 2 })
  tell('agent_completed', { status: 'completed', message_id: answerId, content: `Heard ${content}` })
}

/** The first client of a thread, which has written all messages and was there all the time. */
function steadyClient (thread: ThreadRecord): ClientRecord {
  const { user, threadId, messages, runs, events } = thread
  const sent = runs.map(({ runId, messageId }, index) => {
    const answer = { messageId, runId, duplicate: false }
    const content = messages.find(({ message_id: id }) => id === messageId)?.content ?? ''
    // The answer to the second one was lost, so it was sent once more.
    return { id: `${user} ${index}`, content, answers: index === 0 ? [answer] : [answer, { ...answer, duplicate: true }] }
  })
  const received = [established(thread, 0), ...events].map(receive)
  return { name: `${user}/0`, user, threadId, sent, toTheEnd: true, connections: [{ node: 'gateway-0', after: undefined, received }] }
}

/** The second one, which has lost its connection in the middle and came back to another node. */
function returningClient (thread: ThreadRecord): ClientRecord {
  const { user, threadId, events } = thread
  const before = [established(thread, 0), ...events.slice(0, 5)].map(receive)
  const missed = events.slice(5, 9).map((event) => ({ ...event, replayed: true }))
  const after = [established(thread, 9), ...missed, ...events.slice(9)].map(receive)
  const connections = [{ node: 'gateway-1', after: 0, received: before }, { node: 'gateway-0', after: 5, received: after }]
  return { name: `${user}/1`, user, threadId, sent: [], toTheEnd: true, connections }
}

function receive (event: ServerEvent, atMs: number): Received {
  return { atMs, event }
}

function established ({ user, threadId }: ThreadRecord, sequence: number): ServerEvent {
  const payload = { connection_id: 'connection', user_id: user, thread_id: threadId, token_expires_at: null, sequence, epoch: 'epoch', active_runs: [] }
  return { ...envelope(user, threadId, 'connection_established' satisfies EventType), payload } as unknown as ServerEvent // as a server tells it
}

function eventOf (
  { user, threadId, runId, sequence }: { user: string, threadId: string, runId: string, sequence: number }, type: string, payload: object
): ThreadEvent {
  return { ...envelope(user, threadId, type), sequence, epoch: 'epoch', run_id: runId, payload } as unknown as ThreadEvent // as a server tells it
}

function envelope (user: string, threadId: string, type: string) {
  return { type, event_id: crypto.randomUUID(), timestamp: new Date(0).toISOString(), user_id: user, thread_id: threadId, request_id: uuidOf(type) }
}

function messageOf (threadId: string, runId: string, role: 'user' | 'assistant', id: string, content: string): MessageView {
  return {
    message_id: id,
    thread_id: threadId,
    run_id: runId,
    role,
    content,
    metadata: {},
    parent_id: null,
    sibling_ids: [id],
    created_at: new Date(0).toISOString()
  }
}

/** Always the same for the same name. */
function uuidOf (name: string): string {
  const hex = createHash('sha256').update(name).digest('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-7${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}
