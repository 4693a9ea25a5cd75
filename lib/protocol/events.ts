import { Type, type Static, type TSchema } from 'typebox'
import { errorCodes, type ErrorCode } from '../errors.ts'
import { connectionIdPattern, runIdPattern, uuidPattern, type EventId, type RequestId, type RunId, type ThreadId, type UserId } from './ids.ts'
import { RunIsolation } from './run-isolation.ts'

/** What the server sends over `threadline.v1`: one shape for all, the payload by type. */

const Uuid = Type.String({ pattern: uuidPattern })
const Timestamp = Type.String({ format: 'date-time', description: 'ISO 8601, UTC' })
const ErrorBody = Type.Object({
  code: Type.Unsafe<ErrorCode>(Type.Enum([...errorCodes])),
  message: Type.String(),
  retryable: Type.Boolean()
})

/** How a run ended. */
export const RunOutcome = Type.Union([
  Type.Literal('completed'), Type.Literal('failed'), Type.Literal('cancelled'), Type.Literal('timed_out')
])
export type RunOutcome = Static<typeof RunOutcome>

const NullableTimestamp = Type.Union([Timestamp, Type.Null()])
const Metadata = Type.Record(Type.String(), Type.Unknown())
const RunIdText = Type.String({ pattern: runIdPattern })
const NextCursor = Type.Union([Type.String(), Type.Null()], { description: 'Asks for the next page; null on the last one' })

export const ThreadView = Type.Object({
  thread_id: Uuid,
  title: Type.Union([Type.String(), Type.Null()]),
  metadata: Metadata,
  created_at: Timestamp,
  updated_at: Timestamp,
  archived_at: NullableTimestamp,
  deleted_at: NullableTimestamp
})
export type ThreadView = Static<typeof ThreadView>

const Role = Type.Union([Type.Literal('user'), Type.Literal('assistant')])

export const MessageView = Type.Object({
  message_id: Uuid,
  thread_id: Uuid,
  run_id: Type.Union([Type.String({ pattern: runIdPattern }), Type.Null()]),
  role: Role,
  content: Type.String(),
  metadata: Metadata,
  parent_id: Type.Union([Uuid, Type.Null()], { description: 'The message that this one follows; null at the beginning' }),
  sibling_ids: Type.Array(Uuid, { description: 'All messages that follow the same one, this one included, oldest first' }),
  created_at: Timestamp
})
export type MessageView = Static<typeof MessageView>

/** `queued` and `running`, and the ways in which a run ends. */
export const RunStatus = Type.Union([Type.Literal('queued'), Type.Literal('running'), ...RunOutcome.anyOf])
export type RunStatus = Static<typeof RunStatus>

export const RunView = Type.Object({
  run_id: RunIdText,
  thread_id: Uuid,
  message_id: Uuid,
  agent: Type.String(),
  status: RunStatus,
  created_at: Timestamp,
  started_at: NullableTimestamp,
  finished_at: NullableTimestamp,
  error: Type.Union([Type.String(), Type.Null()], { description: 'Why it did not complete: a code of this protocol, or a reason' })
})
export type RunView = Static<typeof RunView>

/** A run that has not ended, as it stood at the sequence that is told with it. */
export const ActiveRun = Type.Object({
  run_id: RunIdText,
  message_id: Uuid,
  agent: Type.String(),
  status: Type.Union([Type.Literal('queued'), Type.Literal('running')]),
  text: Type.String({ description: 'What it has answered so far' })
})
export type ActiveRun = Static<typeof ActiveRun>

export const SearchResult = Type.Object({
  thread: ThreadView,
  message: Type.Union([
    Type.Object({ message_id: Uuid, role: Role, created_at: Timestamp }), Type.Null()
  ], { description: 'The best match among the messages; null when only the title matches' }),
  snippet: Type.String({ description: 'Plain text around the match; the words that match stand between « and »' })
})
export type SearchResult = Static<typeof SearchResult>

const Position = {
  sequence: Type.Integer({ minimum: 0, description: 'Of the last event before this moment; live events follow it' }),
  epoch: Type.String()
}
/** Where a thread stands: its position, and what goes on in it, unfinished runs in the order of their turns. */
const State = { ...Position, active_runs: Type.Array(ActiveRun) }

/** Why what was missed cannot be sent: sequences have started anew, or it is not kept any more, or it never was. */
const ResyncReason = Type.Union([
  Type.Literal('epoch_changed'), Type.Literal('position_expired'), Type.Literal('position_unknown')
])

export const eventPayloads = {
  connection_established: Type.Object({
    connection_id: Type.String({ pattern: connectionIdPattern }),
    user_id: Type.String(),
    thread_id: Type.Union([Uuid, Type.Null()]),
    token_expires_at: NullableTimestamp,
    ...State
  }),
  error: ErrorBody,
  pong: Type.Object({}),
  message_accepted: Type.Object({ message_id: Uuid, run_id: RunIdText, duplicate: Type.Boolean() }),
  run_created: Type.Object({ message_id: Uuid, run_id: RunIdText, duplicate: Type.Boolean() }),
  run_queued: Type.Object({ run_id: RunIdText, position: Type.Integer({ minimum: 1 }) }),
  runs_stopping: Type.Object({ run_ids: Type.Array(RunIdText) }),
  run_state: RunView,
  run_isolation: RunIsolation,
  run_list: Type.Object({ runs: Type.Array(RunView), has_more: Type.Boolean() }),
  resumed: Type.Object({
    after: Type.Integer({ minimum: 0, description: 'What the client had seen' }),
    replayed: Type.Integer({ minimum: 0, description: 'How many events were sent again before this one' }),
    ...State
  }),
  resync_required: Type.Object({
    reason: ResyncReason,
    thread: ThreadView,
    messages: Type.Array(MessageView, { description: 'The newest of the visible branch, oldest first' }),
    has_more: Type.Boolean(),
    ...State
  }),
  thread_created: ThreadView,
  thread_updated: ThreadView,
  thread_deleted: Type.Object({ thread_id: Uuid }),
  thread_state: Type.Object({ thread: ThreadView, ...State }),
  thread_list: Type.Object({
    threads: Type.Array(ThreadView), total: Type.Integer(), limit: Type.Integer(), offset: Type.Integer(), next_cursor: NextCursor
  }),
  search_results: Type.Object({ results: Type.Array(SearchResult), next_cursor: NextCursor }),
  thread_switched: Type.Object({ thread: ThreadView, messages: Type.Array(MessageView), has_more: Type.Boolean(), ...State }),
  thread_history: Type.Object({ messages: Type.Array(MessageView), has_more: Type.Boolean() }),
  branch_selected: Type.Object({ messages: Type.Array(MessageView), has_more: Type.Boolean() }),
  typing: Type.Object({ is_typing: Type.Boolean(), thread_id: Uuid }),
  presence: Type.Object({ connections: Type.Integer({ minimum: 0 }) }),
  token_expiring: Type.Object({ expires_at: Timestamp }),
  token_renewed: Type.Object({ expires_at: Type.Union([Timestamp, Type.Null()]) }),

  agent_started: Type.Object({ agent: Type.String(), message_id: Uuid, input: Type.String() }),
  agent_resumed: Type.Object({ attempt: Type.Integer({ minimum: 2, description: 'How many times the run has been taken up' }) }),
  agent_thinking: Type.Object({ message: Type.String(), step: Type.Integer({ minimum: 0 }) }),
  agent_delta: Type.Object({ text: Type.String(), step: Type.Integer({ minimum: 0 }) }),
  tool_executing: Type.Object({ tool_call_id: Type.String(), tool: Type.String(), parameters: Type.Unknown() }),
  tool_completed: Type.Object({
    tool_call_id: Type.String(),
    tool: Type.String(),
    success: Type.Boolean(),
    duration_ms: Type.Number({ minimum: 0 }),
    result: Type.Optional(Type.Unknown()),
    error: Type.Optional(ErrorBody)
  }),
  agent_completed: Type.Object({
    status: RunOutcome,
    message_id: Type.Optional(Uuid),
    content: Type.Optional(Type.String()),
    usage: Type.Optional(Type.Object({
      input_tokens: Type.Number(), output_tokens: Type.Number(), model: Type.Optional(Type.String())
    })),
    reason: Type.Optional(Type.String()),
    error: Type.Optional(ErrorBody)
  })
} as const satisfies Record<string, TSchema>

export type EventType = keyof typeof eventPayloads
export type PayloadOf<Name extends EventType> = Static<(typeof eventPayloads)[Name]>
export const eventTypes = Object.keys(eventPayloads) as readonly EventType[] // keys of a const object

/** What a run tells: each of these is in the thread's log, with a sequence. */
export const runEventTypes = [
  'agent_started', 'agent_resumed', 'agent_thinking', 'agent_delta', 'tool_executing', 'tool_completed', 'agent_completed'
] as const satisfies readonly EventType[]
export type RunEventType = typeof runEventTypes[number]

export function isRunEventType (value: unknown): value is RunEventType {
  return (runEventTypes as readonly unknown[]).includes(value)
}
export function isEventType (value: unknown): value is EventType {
  return typeof value === 'string' && Object.hasOwn(eventPayloads, value)
}

/** Fields that every event has, beside `type` and `payload`. */
export const eventEnvelope = {
  event_id: Uuid,
  sequence: Type.Optional(Type.Integer({ minimum: 1, description: 'Position in the thread\'s log, from 1, without gaps' })),
  epoch: Type.Optional(Type.String({ description: 'Changes when sequences start anew' })),
  timestamp: Timestamp,
  user_id: Type.String(),
  thread_id: Type.Union([Uuid, Type.Null()]),
  run_id: Type.Optional(Type.String({ pattern: runIdPattern })),
  request_id: Uuid,
  reply_to: Type.Optional(Type.String()),
  agent_name: Type.Optional(Type.String()),
  replayed: Type.Optional(Type.Boolean()),
  traceparent: Type.Optional(Type.String())
} as const

export const eventSchemas = Object.fromEntries(Object.entries(eventPayloads).map(([type, payload]) => [
  type, Type.Object({ type: Type.Literal(type), ...eventEnvelope, payload })
]))

/** An event as a client receives it. */
export interface ServerEvent<Name extends EventType = EventType> {
  readonly type: Name
  readonly event_id: EventId
  readonly sequence?: number
  readonly epoch?: string
  readonly timestamp: string
  readonly user_id: UserId
  readonly thread_id: ThreadId | null
  readonly run_id?: RunId
  readonly request_id: RequestId
  readonly reply_to?: string
  readonly agent_name?: string
  readonly replayed?: boolean
  readonly payload: PayloadOf<Name>
  readonly traceparent?: string
}

/** An event of a run that has its place in the thread's log. */
export interface ThreadEvent<Name extends RunEventType = RunEventType> extends ServerEvent<Name> {
  readonly sequence: number
  readonly epoch: string
  readonly thread_id: ThreadId
  readonly run_id: RunId
}

/** An event before the log has given it its place. Its `user_id` and `thread_id` say in whose name it is appended. */
export type NewThreadEvent<Name extends RunEventType = RunEventType> = Omit<ThreadEvent<Name>, 'sequence' | 'epoch'>
