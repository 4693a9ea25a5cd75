import { Type, type Static, type TSchema } from 'typebox'
import { errorCodes, type ErrorCode } from '../errors.ts'
import { connectionIdPattern, runIdPattern, uuidPattern, type EventId, type RequestId, type RunId, type ThreadId, type UserId } from './ids.ts'

/** What the server sends over `threadline.v1`: one shape for all, the payload by type. */

const Uuid = Type.String({ pattern: uuidPattern })
const Timestamp = Type.String({ description: 'ISO 8601, UTC' })
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

export const ThreadView = Type.Object({
  thread_id: Uuid,
  title: Type.Union([Type.String(), Type.Null()]),
  created_at: Timestamp,
  updated_at: Timestamp
})
export type ThreadView = Static<typeof ThreadView>

export const MessageView = Type.Object({
  message_id: Uuid,
  thread_id: Uuid,
  run_id: Type.Union([Type.String({ pattern: runIdPattern }), Type.Null()]),
  role: Type.Union([Type.Literal('user'), Type.Literal('assistant')]),
  content: Type.String(),
  created_at: Timestamp
})
export type MessageView = Static<typeof MessageView>

const Position = { sequence: Type.Integer({ minimum: 0 }), epoch: Type.String() }

export const eventPayloads = {
  connection_established: Type.Object({
    connection_id: Type.String({ pattern: connectionIdPattern }),
    user_id: Type.String(),
    thread_id: Type.Union([Uuid, Type.Null()]),
    token_expires_at: Type.Union([Timestamp, Type.Null()]),
    ...Position
  }),
  error: ErrorBody,
  pong: Type.Object({}),
  message_accepted: Type.Object({ message_id: Uuid, run_id: Type.String({ pattern: runIdPattern }), duplicate: Type.Boolean() }),
  run_created: Type.Object({ message_id: Uuid, run_id: Type.String({ pattern: runIdPattern }) }),
  run_queued: Type.Object({ run_id: Type.String({ pattern: runIdPattern }), position: Type.Integer({ minimum: 1 }) }),
  runs_stopping: Type.Object({ run_ids: Type.Array(Type.String({ pattern: runIdPattern })) }),
  thread_created: ThreadView,
  thread_updated: ThreadView,
  thread_deleted: Type.Object({ thread_id: Uuid }),
  thread_list: Type.Object({ threads: Type.Array(ThreadView), total: Type.Integer(), limit: Type.Integer(), offset: Type.Integer() }),
  thread_switched: Type.Object({ thread: ThreadView, messages: Type.Array(MessageView), ...Position }),
  thread_history: Type.Object({ messages: Type.Array(MessageView), has_more: Type.Boolean() }),
  typing: Type.Object({ is_typing: Type.Boolean(), thread_id: Uuid }),
  presence: Type.Object({ connections: Type.Integer({ minimum: 0 }) }),
  token_expiring: Type.Object({ expires_at: Timestamp }),
  token_renewed: Type.Object({ expires_at: Type.Union([Timestamp, Type.Null()]) }),

  agent_started: Type.Object({ agent: Type.String(), message_id: Uuid, input: Type.String() }),
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
    usage: Type.Optional(Type.Object({ input_tokens: Type.Number(), output_tokens: Type.Number() })),
    reason: Type.Optional(Type.String()),
    error: Type.Optional(ErrorBody)
  })
} as const satisfies Record<string, TSchema>

export type EventType = keyof typeof eventPayloads
export type PayloadOf<Name extends EventType> = Static<(typeof eventPayloads)[Name]>
export const eventTypes = Object.keys(eventPayloads) as readonly EventType[] // keys of a const object

/** What a run tells: each of these is in the thread's log, with a sequence. */
export const runEventTypes = [
  'agent_started', 'agent_thinking', 'agent_delta', 'tool_executing', 'tool_completed', 'agent_completed'
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
