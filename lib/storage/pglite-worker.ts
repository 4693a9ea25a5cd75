import { parentPort, workerData, type MessagePort } from 'node:worker_threads'
import { PGlite } from '@electric-sql/pglite'

/**
 * The embedded database, on a thread of its own, so that a query never holds up a socket. It speaks Postgres' own protocol:
 * each port that arrives is a connection, each message on it some whole frames, each answer what the database says to them.
 * There is one session behind all of them, and they take turns.
 */

/** What the worker says to its owner. Asked to `close`, it closes the files and ends. */
export type WorkerReport = 'ready'
export type WorkerRequest = { readonly connect: MessagePort } | 'close'

// Simple query, protocol version 3.0: 'Q', the length, the text, a zero.
const rollback = Buffer.from('Q\0\0\0\x0drollback\0', 'latin1')

const { folder } = workerData as { folder: string | undefined } // set by pglite-database.ts
const database = await PGlite.create(folder === undefined ? {} : { dataDir: folder })
let turn: Promise<void> = Promise.resolve()

parentPort?.on('message', (request: WorkerRequest) => {
  if (request === 'close') void takeTurn(close)
  else connect(request.connect)
})
parentPort?.postMessage('ready' satisfies WorkerReport)

function connect (port: MessagePort): void {
  // The connection before may have been given up in the middle of a transaction.
  void takeTurn(async () => { await database.execProtocolRaw(rollback) })
  port.on('message', (frames: Uint8Array) => {
    void takeTurn(async () => {
      const answer = new Uint8Array(await database.execProtocolRaw(frames))
      port.postMessage(answer, [answer.buffer])
    })
  })
}

// A rejection here is no answer of the database but its end. It is not caught: it ends the worker, and with it all ports.
function takeTurn (task: () => Promise<void>): Promise<void> {
  turn = turn.then(task)
  return turn
}

async function close (): Promise<void> {
  await database.close()
  process.exit(0) // ends this thread only, with the handles that the database leaves behind
}
