import { once } from 'node:events'
import { MessageChannel, Worker } from 'node:worker_threads'
import { ThreadlineError } from '../errors.ts'
import { PgliteStream } from './pglite-stream.ts'
import type { WorkerRequest } from './pglite-worker.ts'

/** The embedded database, running in its worker. */
export interface PgliteDatabase {
  /** A connection. All of them share one session: only one may be in use at a time. */
  openStream (): PgliteStream
  /** Closes the files and ends the worker. */
  close (): Promise<void>
}

// The compiled file has another extension, which the compiler does not see in a URL.
const workerFile = new URL(`./pglite-worker${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url)

/**
 * Starts the embedded database on a folder, or in memory without one. The worker takes over neither the environment nor the
 * preloads of the process: it has no use for either. Throws `THREADLINE_STORAGE_UNAVAILABLE` when it does not start.
 */
export async function openPglite (folder?: string): Promise<PgliteDatabase> {
  const worker = new Worker(workerFile, { name: 'pglite', workerData: { folder }, execArgv: [], env: {} })
  let running = true
  const ended = new Promise<void>((resolve) => {
    worker.once('exit', () => { running = false; resolve() })
  })
  try {
    await Promise.race([once(worker, 'message'), ended.then(() => { throw new Error('The worker has ended') })])
  } catch (cause) {
    throw new ThreadlineError('THREADLINE_STORAGE_UNAVAILABLE', 'The embedded database did not start', { cause })
  }
  // The connections tell their users; without a listener the error would end the whole process.
  worker.on('error', () => undefined)

  return {
    openStream () {
      const { port1, port2 } = new MessageChannel()
      if (running) worker.postMessage({ connect: port2 } satisfies WorkerRequest, [port2])
      else port2.close()
      return new PgliteStream(port1)
    },
    async close () {
      worker.postMessage('close' satisfies WorkerRequest)
      await ended
    }
  }
}
