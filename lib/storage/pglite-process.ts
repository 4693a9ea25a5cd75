import { existsSync } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import { isThreadlineError } from '../errors.ts'
import { lockDataFolder, type DataFolderLock } from './data-folder-lock.ts'
import { createDatabase } from './pglite-image.ts'

/**
 * The embedded database, a process of its own: a query never holds up a socket, and when the WebAssembly engine dies, the
 * server does not die with it. It speaks Postgres' own protocol: each message is some whole frames of one connection, each
 * answer what the database says to them. There is one session behind all connections, and they take turns.
 *
 * It holds the lock of the data folder, so that nobody else opens the folder before this process has ended. It ends when its
 * owner asks, or is gone; a signal to the whole group of processes does not end it, since its owner still needs it then.
 */

/** To the process. A connection is new when it is first named. */
export type PgliteRequest = { readonly connection: number, readonly frames: Uint8Array } | 'close'
/** From the process. */
export type PgliteReport =
  | 'ready'
  | { readonly connection: number, readonly answer: Uint8Array }
  | { readonly locked: string }
  | { readonly failed: string }

// Simple query, protocol version 3.0: 'Q', the length, the text, a zero.
const rollback = Buffer.from('Q\0\0\0\x0drollback\0', 'latin1')

process.on('SIGINT', () => undefined)
process.on('SIGTERM', () => undefined)
process.on('disconnect', end)

const [dataFolder] = process.argv.slice(2)
// Named here because the lock is lost with the last reference to it.
let lock: DataFolderLock | undefined
process.on('exit', () => { lock?.release() })
const database = await start()
let turn: Promise<void> = Promise.resolve()
let connection = 0

process.on('message', (request: PgliteRequest) => {
  // A rejection is no answer of the database but its end. It is not caught: it ends the process.
  turn = turn.then(async () => {
    if (request === 'close') await close()
    else await answer(request.connection, request.frames)
  })
})
report('ready')

async function answer (from: number, frames: Uint8Array): Promise<void> {
  // The connection before may have been given up in the middle of a transaction.
  if (from !== connection) await database.execProtocolRaw(rollback)
  connection = from
  report({ connection, answer: await database.execProtocolRaw(frames) })
}

async function close (): Promise<void> {
  await database.close()
  end()
}

async function start (): Promise<PGlite> {
  try {
    return dataFolder === undefined ? await createDatabase() : await openFolder(dataFolder)
  } catch (error) {
    const locked = isThreadlineError(error, 'THREADLINE_DATA_FOLDER_LOCKED')
    report(locked ? { locked: error.message } : { failed: error instanceof Error ? error.message : String(error) })
    return await new Promise(() => undefined) // the owner ends this process
  }
}

async function openFolder (dataFolder: string): Promise<PGlite> {
  lock = lockDataFolder(dataFolder)
  const folder = join(dataFolder, 'postgres')
  if (!existsSync(folder)) await initialise(folder)
  return await PGlite.create(folder)
}

// In a place of its own first: a process that ends half-way leaves no folder that looks like a database.
async function initialise (folder: string): Promise<void> {
  const unfinished = `${folder}.new`
  await rm(unfinished, { recursive: true, force: true })
  await (await createDatabase(unfinished)).close()
  await rename(unfinished, folder)
}

function report (message: PgliteReport): void {
  process.send?.(message, undefined, undefined, () => undefined) // an owner that is gone is told by `disconnect`
}

function end (): void {
  process.exit() // oxlint-disable-line unicorn/no-process-exit -- the database leaves handles behind that keep a process alive
}
