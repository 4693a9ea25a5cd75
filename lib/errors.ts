/**
 * The closed list of errors that a client can see. A code is contract and is never renamed; its message may change.
 * `status` is the HTTP status, `retryable` says whether the same request can succeed later without being changed, and
 * `closeCode` is set where the socket cannot stay open.
 */
const definitions = {
  THREADLINE_NO_CONTEXT: { status: 500, retryable: false, message: 'No identity is active here' },
  THREADLINE_INVALID_CONTEXT: { status: 400, retryable: false, message: 'The execution context is invalid' },
  THREADLINE_CONTEXT_MISMATCH: { status: 500, retryable: false, message: 'The resource belongs to another identity' },
  THREADLINE_CONTEXT_TOO_DEEP: { status: 400, retryable: false, message: 'Child requests are nested too deeply' },

  THREADLINE_BAD_JSON: { status: 400, retryable: false, message: 'The frame is not a JSON object' },
  THREADLINE_BAD_REQUEST: { status: 400, retryable: false, message: 'The request does not match its schema' },
  THREADLINE_UNKNOWN_TYPE: { status: 400, retryable: false, message: 'The message type is unknown' },
  THREADLINE_SERVER_ONLY_TYPE: { status: 400, retryable: false, message: 'Only the server sends this message type' },
  THREADLINE_EMPTY_CONTENT: { status: 400, retryable: false, message: 'A message needs text' },
  THREADLINE_INVALID_THREAD_ID: { status: 400, retryable: false, message: 'The thread id is not valid' },
  THREADLINE_INVALID_RUN_ID: { status: 400, retryable: false, message: 'The run id is not valid' },
  THREADLINE_THREAD_REQUIRED: { status: 400, retryable: false, message: 'A thread id is required' },
  THREADLINE_BODY_TOO_LARGE: { status: 413, retryable: false, message: 'The request is too large' },

  THREADLINE_UNAUTHENTICATED: { status: 401, retryable: false, message: 'A valid token or ticket is required' },
  THREADLINE_TOKEN_EXPIRED: { status: 401, retryable: false, message: 'The token has expired' },
  THREADLINE_FORBIDDEN_ORIGIN: { status: 403, retryable: false, message: 'The origin is not allowed' },
  THREADLINE_SENDER_MISMATCH: { status: 403, retryable: false, message: 'A message cannot name another sender' },
  THREADLINE_UNSUPPORTED_SUBPROTOCOL: { status: 400, retryable: false, message: 'No offered subprotocol is supported' },

  THREADLINE_NOT_FOUND: { status: 404, retryable: false, message: 'Not found' },
  THREADLINE_THREAD_NOT_FOUND: { status: 404, retryable: false, message: 'There is no such thread' },
  THREADLINE_RUN_NOT_FOUND: { status: 404, retryable: false, message: 'There is no such run' },
  THREADLINE_AGENT_NOT_FOUND: { status: 404, retryable: false, message: 'There is no such agent' },

  THREADLINE_RATE_LIMITED: { status: 429, retryable: true, message: 'Too many messages' },
  THREADLINE_CONNECTION_LIMIT: { status: 429, retryable: true, message: 'Too many connections for this user' },
  THREADLINE_QUEUE_FULL: { status: 429, retryable: true, message: 'Too many runs wait in this thread' },
  THREADLINE_THREAD_BUSY: { status: 409, retryable: true, message: 'A run is already active in this thread' },
  THREADLINE_CONFLICT: { status: 409, retryable: false, message: 'The resource was changed by somebody else' },

  THREADLINE_TOOL_NOT_FOUND: { status: 404, retryable: false, message: 'There is no such tool' },
  THREADLINE_TOOL_DENIED: { status: 403, retryable: false, message: 'The tool is not permitted here' },
  THREADLINE_TOOL_FAILED: { status: 500, retryable: true, message: 'The tool failed' },
  THREADLINE_TOOL_INTERRUPTED: { status: 500, retryable: false, message: 'The tool was interrupted, and what it has done is not known' },
  THREADLINE_TIMED_OUT: { status: 504, retryable: true, message: 'The time limit was reached' },
  THREADLINE_CANCELLED: { status: 409, retryable: false, message: 'The run was cancelled' },
  THREADLINE_UNTRUSTED_RUN: { status: 403, retryable: false, message: 'The run was not queued by this service' },
  THREADLINE_MODEL_FAILED: { status: 502, retryable: true, message: 'The model failed' },
  THREADLINE_INVALID_EVENT: { status: 500, retryable: false, message: 'The event breaks the rules of its run' },

  THREADLINE_STORAGE_UNAVAILABLE: { status: 503, retryable: true, message: 'The storage is not available' },
  THREADLINE_DATA_FOLDER_LOCKED: { status: 500, retryable: false, message: 'Another process uses the data folder' },
  THREADLINE_MIGRATION_FAILED: { status: 500, retryable: false, message: 'A migration failed' },
  THREADLINE_INVALID_CONFIGURATION: { status: 500, retryable: false, message: 'The configuration is not valid' },
  THREADLINE_SHUTTING_DOWN: { status: 503, retryable: true, message: 'The server is shutting down' },
  THREADLINE_INTERNAL: { status: 500, retryable: true, message: 'Something went wrong on the server' }
} as const satisfies Record<string, { status: number, retryable: boolean, message: string }>

export type ErrorCode = keyof typeof definitions

/** Every code, for schemas and documentation. */
export const errorCodes: readonly ErrorCode[] = Object.keys(definitions) as ErrorCode[] // keys of a const object

/**
 * An error that may be told to a client. `message` is safe to show: it never holds another user's data.
 * `field` names the offending part of the input, where there is one.
 */
export class ThreadlineError extends Error {
  override readonly name = 'ThreadlineError'
  readonly code: ErrorCode
  /** Read by Fastify's error handling. */
  readonly statusCode: number
  readonly retryable: boolean
  readonly field: string | undefined
  /** When the same request may succeed, in ms from now, where that is known. */
  readonly retryAfterMs: number | undefined

  constructor (code: ErrorCode, message?: string, options: { cause?: unknown, field?: string, retryAfterMs?: number | undefined } = {}) {
    const definition = definitions[code]
    super(message ?? definition.message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.statusCode = definition.status
    this.retryable = definition.retryable
    this.field = options.field
    this.retryAfterMs = options.retryAfterMs
  }
}

/** What a client is told of an error: its own code, or `THREADLINE_INTERNAL` for anything that was not meant for it. */
export function toPublicError (error: unknown): { code: ErrorCode, message: string, retryable: boolean } {
  const known = error instanceof ThreadlineError ? error : new ThreadlineError('THREADLINE_INTERNAL')
  return { code: known.code, message: known.message, retryable: known.retryable }
}

export function isThreadlineError (error: unknown, code?: ErrorCode): error is ThreadlineError {
  return error instanceof ThreadlineError && (code === undefined || error.code === code)
}
