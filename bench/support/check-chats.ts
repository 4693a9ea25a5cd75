import type { FastifyInstance } from 'fastify'
import { enterThread } from '../../lib/context/current-thread.ts'
import { createIdentity } from '../../lib/context/identity.ts'
import { isRunEventType, type MessageView, type RunEventType, type ThreadEvent } from '../../lib/protocol/events.ts'
import { toThreadId, toUserId } from '../../lib/protocol/ids.ts'
import type { RunRecord } from '../../lib/stores/run-record.ts'
import type { Findings } from './findings.ts'
import { observationPlaces, type Observation } from './gathering-agent.ts'
import type { ChatRecord } from './soak-clients.ts'
import { readEvents } from '../../test/support/stored-thread.ts'

/** What each run of the gathering agent tells, beside its text. */
const story: readonly RunEventType[] = [
  'agent_started', 'agent_thinking', 'agent_thinking', 'tool_executing', 'tool_completed', 'agent_completed'
]

interface StoredChat {
  readonly chat: ChatRecord
  readonly runs: readonly RunRecord[]
  readonly messages: readonly MessageView[]
  readonly events: readonly ThreadEvent[]
}

/** Everything that was written to the sockets: each has heard of its own thread, all of that, and nothing else. */
export function checkSockets (chats: readonly ChatRecord[], findings: Findings): void {
  const sent = new Set(chats.map(({ marker }) => marker))
  findings.count('markers that came back in their own thread', chats.length,
    chats.filter(({ marker, markers }) => markers.includes(marker)).length)
  findings.none('markers in another thread', chats, ({ threadId, marker, markers }) => {
    const foreign = markers.filter((other) => other !== marker)
    return foreign.length === 0 ? undefined : `thread ${threadId} was told ${foreign.length} foreign markers, ${foreign.filter((other) => sent.has(other)).length} of them sent by others`
  })
  findings.none('frames of another user or thread', chats.flatMap((chat) => chat.events.map((event) => ({ chat, event }))), ({ chat, event }) => {
    const own = event.user_id === chat.user && (event.thread_id === chat.threadId || event.thread_id === null) &&
      (event.run_id === undefined || event.run_id === chat.runId)
    return own ? undefined : `thread ${chat.threadId} was told ${event.type} of ${event.user_id}, thread ${event.thread_id}, run ${event.run_id}`
  })
  findings.none('error events', chats, ({ events, threadId }) =>
    events.some(({ type }) => type === 'error') ? `thread ${threadId} was told of an error` : undefined)
  findings.none('sockets that the server closed', chats, ({ closeCode, threadId }) =>
    closeCode === 1005 ? undefined : `the socket of thread ${threadId} was closed with ${closeCode}`)
}

/** Agent and tool, at every point where they looked, served the thread that the marker came from. */
export function checkObservations (observations: readonly Observation[], chats: readonly ChatRecord[], findings: Findings): void {
  const byMarker = new Map(chats.map((chat) => [chat.marker, chat]))
  findings.count('identities read by agent and tool', chats.length * observationPlaces.length, observations.length)
  findings.none('identities of another message', observations, ({ at, marker, identity }) => {
    const chat = byMarker.get(marker ?? '')
    const own = identity.userId === chat?.user && identity.threadId === chat.threadId && identity.runId === chat.runId
    return own ? undefined : `${at}: served ${identity.userId}, thread ${identity.threadId}, for a message of ${chat?.user}, thread ${chat?.threadId}`
  })
}

/** What is stored: read in each user's name, as the next session of that user would read it. */
export async function checkStorage (app: FastifyInstance, chats: readonly ChatRecord[], findings: Findings): Promise<void> {
  const stored = await Promise.all(chats.map((chat) => readStored(app, chat)))
  const sum = (size: (chat: StoredChat) => number): number => stored.reduce((total, chat) => total + size(chat), 0)
  const ends = ({ events }: StoredChat): number => events.filter(({ type }) => type === 'agent_completed').length
  const received = chats.reduce((total, { events }) => total + events.filter(({ type }) => isRunEventType(type)).length, 0)

  findings.count('runs stored', chats.length, sum(({ runs }) => runs.length))
  findings.count('runs completed', chats.length, sum(({ runs }) => runs.filter(({ status }) => status === 'completed').length))
  findings.count('messages stored', chats.length * 2, sum(({ messages }) => messages.length))
  findings.count('agent_completed in the log', chats.length, sum(ends))
  findings.count('events in the log, beside text', chats.length * story.length, sum(({ events }) => withoutText(events).length))
  findings.count('events on the sockets as in the log', sum(({ events }) => events.length), received)
  findings.none('threads whose story is not right', stored, complainOfStory)
}

function complainOfStory ({ chat, runs, messages, events }: StoredChat): string | undefined {
  const wrong = (what: string): string => `thread ${chat.threadId}: ${what}`
  if (events.some(({ sequence }, index) => sequence !== index + 1)) return wrong('sequences have a gap')
  const types = withoutText(events).map(({ type }) => type)
  if (types.join() !== story.join()) return wrong(`told ${types.join()}`)
  const seen = chat.events.filter(({ type }) => isRunEventType(type)).map(({ event_id: id, sequence }) => `${sequence} ${id}`)
  if (seen.join() !== events.map(({ event_id: id, sequence }) => `${sequence} ${id}`).join()) return wrong('the socket was told something else')
  if (runs.some(({ runId }) => runId !== chat.runId)) return wrong('has a run of another message')
  if (!messages.every(({ content }) => content.includes(chat.marker))) return wrong('has a message without its marker')
  return undefined
}

async function readStored (app: FastifyInstance, chat: ChatRecord): Promise<StoredChat> {
  const { runs, messages } = app.storage
  const threadId = toThreadId(chat.threadId)
  return await enterThread(createIdentity({ userId: toUserId(chat.user), threadId }), async () => ({
    chat,
    runs: (await runs.list(threadId, { limit: 100 })).runs,
    messages: (await messages.history(threadId, { limit: 100 })).messages,
    events: await readEvents(app.storage, threadId, 1_000)
  }))
}

function withoutText (events: readonly ThreadEvent[]): readonly ThreadEvent[] {
  return events.filter(({ type }) => type !== 'agent_delta')
}
