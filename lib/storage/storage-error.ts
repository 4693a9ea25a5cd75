import pg from 'pg'
import { isThreadlineError, ThreadlineError, type ErrorCode } from '../errors.ts'

/** Raised by our own functions, in a class of SQLSTATE that Postgres leaves to applications. */
const ownStates: Readonly<Record<string, { readonly code: ErrorCode, readonly message?: string }>> = {
  TL001: { code: 'THREADLINE_NO_CONTEXT' },
  TL002: { code: 'THREADLINE_THREAD_NOT_FOUND' },
  TL003: { code: 'THREADLINE_THREAD_BUSY' },
  TL004: { code: 'THREADLINE_QUEUE_FULL' },
  TL005: { code: 'THREADLINE_CONFLICT' },
  TL006: { code: 'THREADLINE_NOT_FOUND', message: 'There is no such message' }
}

const uniqueViolation = '23505'
const untranslatable = ['22021', '22P05']

// Source: PostgreSQL 18, appendix A. The server is going, full or gone, or has given up waiting; a later try can succeed.
const unavailableClasses = ['08', '53', '57', '58', '40', 'XX']
/** Of a server that has become a standby, or that is only read from for another reason. */
const readOnly = '25006'
const lockTimeout = '55P03'
const unavailableStates = [lockTimeout, '3D000', '28000', '28P01', '25P03', '25P04', readOnly]

/**
 * What a failed call to the driver means to a caller. A bug in a query stays what it is, and is an internal error outside.
 * An error without a SQLSTATE did not come from the database: the way to it is broken.
 */
export function toStorageError (error: unknown): unknown {
  if (isThreadlineError(error)) return error
  if (!(error instanceof pg.DatabaseError)) return unavailable(error)
  const state = error.code ?? ''
  const own = ownStates[state]
  if (own !== undefined) return new ThreadlineError(own.code, own.message, { cause: error })
  if (state === uniqueViolation) return new ThreadlineError('THREADLINE_CONFLICT', undefined, { cause: error })
  if (untranslatable.includes(state)) return new ThreadlineError('THREADLINE_BAD_REQUEST', undefined, { cause: error })
  if (unavailableClasses.includes(state.slice(0, 2)) || unavailableStates.includes(state)) return unavailable(error)
  return error
}

/** True for what stays so on this connection, and may be otherwise on a new one. */
export function isOfConnection (error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code === readOnly
}

/** Somebody else held a lock for longer than it is waited for. */
export function isLockTimeout (error: unknown): boolean {
  return error instanceof ThreadlineError && error.cause instanceof pg.DatabaseError && error.cause.code === lockTimeout
}

function unavailable (cause: unknown): ThreadlineError {
  return new ThreadlineError('THREADLINE_STORAGE_UNAVAILABLE', undefined, { cause })
}
