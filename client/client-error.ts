import type { PayloadOf } from '../lib/protocol/events.ts'

/** What goes wrong on this side of the socket. Codes are contract, as the server's are. */
const definitions = {
  CLIENT_TIMED_OUT: { retryable: true, message: 'No answer came in time' },
  CLIENT_DISCONNECTED: { retryable: true, message: 'The connection was lost before the answer came' },
  CLIENT_BUFFER_FULL: { retryable: true, message: 'More was waiting than the buffer holds' },
  CLIENT_TOKEN_FAILED: { retryable: true, message: 'No token could be had' },
  CLIENT_GAVE_UP: { retryable: true, message: 'The server could not be reached' },
  CLIENT_REFUSED: { retryable: false, message: 'The server closed the connection and does not want another' },
  CLIENT_BAD_TOKEN: { retryable: false, message: 'The token cannot be offered as a subprotocol' },
  CLIENT_BAD_FRAME: { retryable: false, message: 'The server sent something that is not an event' },
  CLIENT_IDENTITY_CHANGED: { retryable: false, message: 'The new connection belongs to another user' },
  CLIENT_DUPLICATE_ID: { retryable: false, message: 'A command with this id still waits for its answer' },
  CLIENT_ABORTED: { retryable: false, message: 'The caller aborted' },
  CLIENT_CLOSED: { retryable: false, message: 'The client is closed' }
} as const satisfies Record<string, { retryable: boolean, message: string }>

export type ClientErrorCode = keyof typeof definitions
export type ServerErrorCode = PayloadOf<'error'>['code']

interface ErrorDetails {
  readonly message?: string
  readonly retryable?: boolean
  /** The close code that ended the connection, where one did. */
  readonly closeCode?: number
  readonly cause?: unknown
}

/**
 * Every error of the client: what the server answered (`THREADLINE_…`), or what happened here (`CLIENT_…`).
 * `retryable` says whether the same thing, done again later and unchanged, can succeed. A `user_message` is sent again
 * under its old `id`, which the server recognises.
 */
export class ThreadlineClientError extends Error {
  override readonly name = 'ThreadlineClientError'
  readonly code: ClientErrorCode | ServerErrorCode
  readonly retryable: boolean
  readonly closeCode: number | undefined

  constructor (code: ClientErrorCode | ServerErrorCode, details: ErrorDetails = {}) {
    const definition = isClientErrorCode(code) ? definitions[code] : undefined
    super(details.message ?? definition?.message ?? code, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    this.retryable = details.retryable ?? definition?.retryable ?? false
    this.closeCode = details.closeCode
  }
}

export function isClientErrorCode (code: string): code is ClientErrorCode {
  return Object.hasOwn(definitions, code)
}
