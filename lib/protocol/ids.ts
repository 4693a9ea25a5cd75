import { v7 as uuidv7 } from 'uuid'
import { ThreadlineError } from '../errors.ts'

declare const brand: unique symbol
type Branded<Name extends string> = string & { readonly [brand]: Name }

/** Who is authenticated: the `sub` of the token. 1 to 128 visible characters, no blanks at the ends, no control characters. */
export type UserId = Branded<'UserId'>
/** One conversation of one user: a UUIDv7. */
export type ThreadId = Branded<'ThreadId'>
/** One execution of an agent: `run_<thread id>_<uuid>`, so that a run always tells its thread. */
export type RunId = Branded<'RunId'>
/** One inbound command or HTTP call: a UUIDv7. */
export type RequestId = Branded<'RequestId'>
/** One socket. 1 to 128 characters of `A–Z a–z 0–9 . _ : -`. */
export type ConnectionId = Branded<'ConnectionId'>
export type MessageId = Branded<'MessageId'>
export type EventId = Branded<'EventId'>

const uuid = '[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}'

export const uuidPattern = `^${uuid}$`
export const runIdPattern = `^run_${uuid}_${uuid}$`
export const connectionIdPattern = '^[A-Za-z0-9._:-]{1,128}$'

const uuidExpression = new RegExp(uuidPattern)
const runIdExpression = new RegExp(runIdPattern)
const connectionIdExpression = new RegExp(connectionIdPattern)
/** Control and format characters, and the separators of lines and paragraphs. */
const invisible = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u

export function isUserId (value: unknown): value is UserId {
  return typeof value === 'string' && value.length > 0 && value.length <= 128 &&
    value.trim() === value && value.isWellFormed() && !invisible.test(value)
}

/** Users of the service itself begin like this. Nobody can sign in as one of them: a token that names one is refused. */
export const reservedUserPrefix = 'threadline-canary-'
export const isReservedUserId = (userId: UserId): boolean => userId.startsWith(reservedUserPrefix)

export const isThreadId = (value: unknown): value is ThreadId => typeof value === 'string' && uuidExpression.test(value)
export const isRunId = (value: unknown): value is RunId => typeof value === 'string' && runIdExpression.test(value)
export const isRequestId = (value: unknown): value is RequestId => typeof value === 'string' && uuidExpression.test(value)
export const isMessageId = (value: unknown): value is MessageId => typeof value === 'string' && uuidExpression.test(value)
export const isConnectionId = (value: unknown): value is ConnectionId =>
  typeof value === 'string' && connectionIdExpression.test(value)

/** The checked boundary at which text becomes an id. Throws `THREADLINE_INVALID_THREAD_ID`. */
export function toThreadId (value: unknown): ThreadId {
  if (!isThreadId(value)) throw new ThreadlineError('THREADLINE_INVALID_THREAD_ID')
  return value
}

/** Throws `THREADLINE_INVALID_RUN_ID`. */
export function toRunId (value: unknown): RunId {
  if (!isRunId(value)) throw new ThreadlineError('THREADLINE_INVALID_RUN_ID')
  return value
}

/** Throws `THREADLINE_BAD_REQUEST`. */
export function toMessageId (value: unknown): MessageId {
  if (!isMessageId(value)) throw new ThreadlineError('THREADLINE_BAD_REQUEST', 'The message id is not valid')
  return value
}

/** Throws `THREADLINE_INVALID_CONTEXT` that names the field. */
export function toUserId (value: unknown): UserId {
  if (!isUserId(value)) throw new ThreadlineError('THREADLINE_INVALID_CONTEXT', 'user_id is not a user id', { field: 'user_id' })
  return value
}

/** Throws `THREADLINE_INVALID_CONTEXT` that names the field. */
export function toConnectionId (value: unknown): ConnectionId {
  if (!isConnectionId(value)) {
    throw new ThreadlineError('THREADLINE_INVALID_CONTEXT', 'connection_id is not a connection id', { field: 'connection_id' })
  }
  return value
}

// The one place where ids are made. The casts brand what the line itself has just generated.
export const newThreadId = (): ThreadId => uuidv7() as ThreadId
export const newRunId = (threadId: ThreadId): RunId => `run_${threadId}_${uuidv7()}` as RunId
export const newRequestId = (): RequestId => uuidv7() as RequestId
export const newConnectionId = (): ConnectionId => uuidv7() as ConnectionId
export const newMessageId = (): MessageId => uuidv7() as MessageId
export const newEventId = (): EventId => uuidv7() as EventId

/** The thread that a run belongs to, read from the run id itself. */
export function threadOfRun (runId: RunId): ThreadId {
  return runId.slice(4, 40) as ThreadId // 'run_' and the 36 characters that the branded type guarantees
}
