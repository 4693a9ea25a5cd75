import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { ThreadlineError } from '../errors.ts'

const sqliteBusy = 5

// A process that is about to end, because its owner was killed, is waited for; it ends within milliseconds.
const patienceMs = 1000

export interface DataFolderLock { release (): void }

/**
 * Takes a data folder for this process, and makes it when there is none. The lock is SQLite's lock on an empty file: the
 * operating system gives it up when the process ends, however it ends, so there is no stale lock to clean up. Throws
 * `THREADLINE_DATA_FOLDER_LOCKED` when another process, or this one, has the folder. The caller releases,
 * and refers to the lock until then: it ends with the last reference.
 */
export function lockDataFolder (dataFolder: string): DataFolderLock {
  mkdirSync(dataFolder, { recursive: true, mode: 0o700 })
  const file = new DatabaseSync(join(dataFolder, 'threadline.lock'), { timeout: patienceMs })
  try {
    file.exec('begin exclusive')
  } catch (cause) {
    file.close()
    throw isBusy(cause) ? locked(dataFolder, cause) : cause
  }
  return { release: () => { file.close() } }
}

function isBusy (error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && error.errcode === sqliteBusy
}

function locked (dataFolder: string, cause: unknown): ThreadlineError {
  return new ThreadlineError(
    'THREADLINE_DATA_FOLDER_LOCKED',
    `The data folder ${dataFolder} is used by another server. Two on one folder would lose data: stop the other one, ` +
      'or name another folder with DATA_DIR.',
    { cause }
  )
}
