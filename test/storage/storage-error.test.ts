import pg from 'pg'
import t from 'tap'
import { ThreadlineError } from '../../lib/errors.ts'
import { toStorageError } from '../../lib/storage/storage-error.ts'

function databaseError (code: string): pg.DatabaseError {
  return Object.assign(new pg.DatabaseError('said by the database', 1, 'error'), { code })
}

t.test('what the database says becomes an error of ours, with the cause kept', async (t) => {
  const expected = {
    TL001: 'THREADLINE_NO_CONTEXT',
    TL002: 'THREADLINE_THREAD_NOT_FOUND',
    TL003: 'THREADLINE_THREAD_BUSY',
    TL004: 'THREADLINE_QUEUE_FULL',
    TL005: 'THREADLINE_CONFLICT',
    '23505': 'THREADLINE_CONFLICT',
    '22021': 'THREADLINE_BAD_REQUEST',
    '25006': 'THREADLINE_STORAGE_UNAVAILABLE',
    '25P03': 'THREADLINE_STORAGE_UNAVAILABLE',
    '08006': 'THREADLINE_STORAGE_UNAVAILABLE',
    '40P01': 'THREADLINE_STORAGE_UNAVAILABLE',
    '53300': 'THREADLINE_STORAGE_UNAVAILABLE',
    '55P03': 'THREADLINE_STORAGE_UNAVAILABLE',
    '57P01': 'THREADLINE_STORAGE_UNAVAILABLE',
    '57014': 'THREADLINE_STORAGE_UNAVAILABLE'
  }

  for (const [state, code] of Object.entries(expected)) {
    const cause = databaseError(state)
    t.match(toStorageError(cause), { code, cause }, state)
  }
})

t.test('a bug in a query stays a bug', async (t) => {
  for (const state of ['42601', '42501', '23503', '22012']) {
    const error = databaseError(state)
    t.equal(toStorageError(error), error, state)
  }
})

t.test('what did not come from the database means that the way to it is broken', async (t) => {
  for (const cause of [new Error('Connection terminated unexpectedly'), Object.assign(new Error(), { code: 'ECONNREFUSED' }), 'what'] as const) {
    t.match(toStorageError(cause), { code: 'THREADLINE_STORAGE_UNAVAILABLE', cause })
  }
})

t.test('an error of ours stays as it is', async (t) => {
  const error = new ThreadlineError('THREADLINE_CONFLICT')

  t.equal(toStorageError(error), error)
})
