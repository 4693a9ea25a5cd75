import { createHash } from 'node:crypto'
import { ThreadlineError } from '../errors.ts'
import {
  isConnectionId, isRequestId, isRunId, isThreadId, isUserId, newRequestId, threadOfRun,
  type ConnectionId, type RequestId, type RunId, type ThreadId, type UserId
} from '../protocol/ids.ts'

/** Facts that travel with an identity: JSON, copied and frozen when the identity is made. */
export type IdentityData = Readonly<Record<string, unknown>>

/**
 * Who is being served, from the moment of authentication on: always a user and a request, a thread once one is known, a
 * run once one is started. Deeply frozen.
 */
export interface Identity {
  readonly userId: UserId
  readonly requestId: RequestId
  readonly threadId?: ThreadId
  readonly runId?: RunId
  readonly connectionId?: ConnectionId
  /** 0 for what came from outside, +1 for each child request. */
  readonly depth: number
  readonly parentRequestId?: RequestId
  readonly operation?: string
  /** ISO 8601, UTC. */
  readonly createdAt: string
  readonly data: IdentityData
}

export interface ThreadIdentity extends Identity { readonly threadId: ThreadId }
export interface RunIdentity extends ThreadIdentity { readonly runId: RunId }

export interface IdentityInput {
  readonly userId: UserId
  readonly threadId?: ThreadId | undefined
  readonly runId?: RunId | undefined
  readonly requestId?: RequestId | undefined
  readonly connectionId?: ConnectionId | undefined
  readonly data?: IdentityData | undefined
}

/** A child of a child of … at most this deep. */
export const maxDepth = 10

const reservedKeys: readonly string[] = ['user_id', 'thread_id', 'run_id', 'request_id', 'connection_id']

/**
 * Checks and freezes an identity. Everything but the user may be absent; what is present must be well-formed, and a run must
 * belong to the thread. Throws `THREADLINE_INVALID_CONTEXT` that names the field.
 */
export function createIdentity (input: IdentityInput): Identity {
  check('user_id', isUserId(input.userId))
  check('thread_id', input.threadId === undefined || isThreadId(input.threadId))
  check('run_id', input.runId === undefined || isRunId(input.runId))
  check('request_id', input.requestId === undefined || isRequestId(input.requestId))
  check('connection_id', input.connectionId === undefined || isConnectionId(input.connectionId))
  check('run_id', input.runId === undefined || threadOfRun(input.runId) === input.threadId)
  const { userId, threadId, runId, connectionId, requestId = newRequestId() } = input
  const identity: { -readonly [Key in keyof Identity]: Identity[Key] } = {
    userId, requestId, depth: 0, createdAt: new Date().toISOString(), data: freezeData(input.data)
  }
  if (threadId !== undefined) identity.threadId = threadId
  if (runId !== undefined) identity.runId = runId
  if (connectionId !== undefined) identity.connectionId = connectionId
  return Object.freeze(identity)
}

/** The identity of a run: user, thread and run are all required, and named when they are missing or malformed. */
export function createRunIdentity (input: IdentityInput): RunIdentity {
  check('user_id', isUserId(input.userId))
  check('thread_id', isThreadId(input.threadId))
  check('run_id', isRunId(input.runId))
  return createIdentity(input) as RunIdentity // the three lines above have checked what the type adds
}

/**
 * The identity of a request that serves another one: same user, thread, run and connection, a new request id, one level
 * deeper. `data` is added to a copy of the parent's: neither the parent nor a sibling sees it.
 */
export function createChildIdentity<Parent extends Identity> (parent: Parent, operation: string, data?: IdentityData): Parent {
  check('operation', typeof operation === 'string' && operation.trim() !== '')
  if (parent.depth >= maxDepth) {
    throw new ThreadlineError('THREADLINE_CONTEXT_TOO_DEEP', `Child requests go at most ${maxDepth} deep`)
  }
  return Object.freeze({
    ...parent,
    requestId: newRequestId(),
    parentRequestId: parent.requestId,
    operation,
    depth: parent.depth + 1,
    createdAt: new Date().toISOString(),
    data: data === undefined ? parent.data : freezeData({ ...parent.data, ...data })
  })
}

/** A key for what a component keeps for one request only; two requests never share one. */
export function scopedKey (identity: Identity, component: string): string {
  return [identity.userId, identity.threadId ?? '-', identity.requestId, component].map(encodeURIComponent).join('/')
}

/** SHA-256, in hex, over every id of the identity: equal only for the same request of the same user. */
export function fingerprint (identity: Identity): string {
  const ids = [identity.userId, identity.threadId, identity.runId, identity.requestId, identity.connectionId]
  return createHash('sha256').update(JSON.stringify(ids)).digest('hex')
}

function check (field: string, valid: boolean): void {
  if (!valid) throw new ThreadlineError('THREADLINE_INVALID_CONTEXT', `${field} is missing or not valid`, { field })
}

/** An own object for each identity, also when there is no data: no two share one. */
function freezeData (data: IdentityData | undefined): IdentityData {
  if (data === undefined) return Object.freeze({})
  for (const key of reservedKeys) check(key, !Object.hasOwn(data, key))
  try {
    return deepFreeze(structuredClone(data))
  } catch (cause) {
    throw new ThreadlineError('THREADLINE_INVALID_CONTEXT', 'data holds something that cannot be copied and frozen', { field: 'data', cause })
  }
}

function deepFreeze<T> (value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  // A frozen map, set, date or buffer can still be changed.
  if (!Array.isArray(value) && Object.getPrototypeOf(value) !== Object.prototype) throw new TypeError('Not a plain object or a list')
  Object.freeze(value)
  for (const key of Reflect.ownKeys(value)) deepFreeze(Reflect.get(value, key))
  return value
}
