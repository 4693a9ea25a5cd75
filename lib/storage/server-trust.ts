import { accessSync, constants } from 'node:fs'
import { distrustOf } from '../context/distrusted-certificate.ts'
import { isThreadlineError, ThreadlineError } from '../errors.ts'
import { toStorageError } from './storage-error.ts'

const files = ['sslrootcert', 'sslcert', 'sslkey']
/** The words of `pg`, which gives this error no code. */
const unencrypted = 'The server does not support SSL connections'

/** Throws `THREADLINE_INVALID_CONFIGURATION` when the URL names a file that cannot be read; the driver would find out at each connection, and then say it to nobody. */
export function requireFiles (url: string): void {
  const parameters = URL.parse(url)?.searchParams
  for (const name of files) {
    const file = parameters?.get(name) ?? ''
    if (file === '') continue
    try {
      accessSync(file, constants.R_OK)
    } catch (cause) {
      throw invalid(`The file that DATABASE_URL names as ${name} cannot be read: check its path and its rights`, cause)
    }
  }
}

/**
 * What a failed call means to whoever connects first: a server that is not trusted, or that does not encrypt, is no matter of trying again, and is
 * `THREADLINE_INVALID_CONFIGURATION` that says what to do. Everything else is what `toStorageError` says; a storage that is not available with its reason,
 * because nobody but who starts a process reads it.
 */
export function toConnectionError (error: unknown): unknown {
  const known = toStorageError(error)
  for (let cause = known; cause instanceof Error; cause = cause.cause) {
    if (cause.message === unencrypted) return invalid('Postgres does not encrypt, and DATABASE_URL demands it: switch TLS on there (ssl = on), or change sslmode', known)
  }
  return distrustOf(known, {
    name: 'Postgres',
    field: 'DATABASE_URL',
    remedy: 'name the file of its authority as sslrootcert in DATABASE_URL, and the server as its certificate does'
  }) ?? (isThreadlineError(known, 'THREADLINE_STORAGE_UNAVAILABLE') ? withReason(known) : known)
}

function withReason (error: ThreadlineError): ThreadlineError {
  const reason = reasonOf(error.cause)
  return new ThreadlineError(error.code, `The database is not available${reason}. \`threadline doctor\` says what to do`, { cause: error.cause })
}

// Of several addresses the first: all of them are of one server, and fail alike.
function reasonOf (cause: unknown): string {
  const first = cause instanceof AggregateError ? cause.errors[0] as unknown : cause
  return first instanceof Error && first.message !== '' ? `: ${first.message}` : ''
}

function invalid (message: string, cause: unknown): ThreadlineError {
  return new ThreadlineError('THREADLINE_INVALID_CONFIGURATION', message, { field: 'DATABASE_URL', cause })
}
