import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Logger } from '../context/logger.ts'
import { ThreadlineError } from '../errors.ts'
import type { PgliteReport, PgliteRequest } from './pglite-process.ts'
import { PgliteStream } from './pglite-stream.ts'

// The compiled file has another extension, which the compiler does not see in a URL.
const program = fileURLToPath(new URL(`./pglite-process${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url))

const startAttempts = 3
const closeTimeoutMs = 5000

/**
 * The embedded database, in a process of its own. starting → running → ended; in a folder it is started again when somebody
 * next asks for a connection, in memory it has lost everything and stays ended. The caller closes.
 */
export class PgliteDatabase {
  readonly #dataFolder: string | undefined
  readonly #logger: Logger | undefined
  readonly #streams = new Map<number, PgliteStream>()
  #connections = 0
  #running: Promise<ChildProcess> | undefined
  #processId: number | undefined
  #state: 'open' | 'lost' | 'closed' = 'open'

  constructor (dataFolder: string | undefined, logger: Logger | undefined) {
    this.#dataFolder = dataFolder
    this.#logger = logger
  }

  /** Of the process while there is one, for whoever watches over it. */
  get processId (): number | undefined { return this.#processId }

  /** Starts it. Throws `THREADLINE_DATA_FOLDER_LOCKED`, or `THREADLINE_STORAGE_UNAVAILABLE` when it does not start. */
  async start (): Promise<void> {
    await this.#process()
  }

  /**
   * A connection. All of them share one session: only one may be in use at a time. It is destroyed with an error when the
   * process ends, so that nothing which was asked waits for ever.
   */
  openStream (): PgliteStream {
    const connection = ++this.#connections
    const stream = new PgliteStream({
      open: async () => {
        const process = await this.#process()
        return (frames) => { send(process, { connection, frames }) }
      },
      close: () => { this.#streams.delete(connection) }
    })
    this.#streams.set(connection, stream)
    return stream
  }

  /** Closes the files and ends the process; with force when it does not answer. */
  async close (): Promise<void> {
    this.#state = 'closed'
    const process = await this.#running?.catch(() => undefined)
    if (process === undefined || hasEnded(process)) return
    const force = setTimeout(() => { process.kill('SIGKILL') }, closeTimeoutMs)
    send(process, 'close')
    await once(process, 'exit')
    clearTimeout(force)
  }

  async #process (): Promise<ChildProcess> {
    if (this.#state !== 'open') throw new ThreadlineError('THREADLINE_STORAGE_UNAVAILABLE', 'The embedded database has ended')
    this.#running ??= this.#start()
    return await this.#running
  }

  // More than one attempt: the WebAssembly engine of Node 24 now and then ends a process that loads as large a program as
  // Postgres (nodejs/node#64500).
  async #start (): Promise<ChildProcess> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#startOnce()
      } catch (error) {
        const final = error instanceof ThreadlineError || attempt >= startAttempts
        if (final) this.#running = undefined
        if (error instanceof ThreadlineError) throw error
        this.#logger?.warn({ err: error, attempt }, 'The embedded database did not start')
        if (final) throw notStarted(error)
      }
    }
  }

  // The process takes over neither the environment nor the preloads of this one: it has no use for either.
  async #startOnce (): Promise<ChildProcess> {
    const process = fork(program, this.#dataFolder === undefined ? [] : [this.#dataFolder], {
      env: {}, execArgv: [], serialization: 'advanced', stdio: ['ignore', 'ignore', 'inherit', 'ipc']
    })
    await new Promise<void>((resolve, reject) => {
      process.once('error', reject)
      process.once('exit', (code, signal) => { reject(new Error(`Its process ended with ${signal ?? code}`)) })
      process.on('message', (report: PgliteReport) => {
        if (report === 'ready') resolve()
        else if ('answer' in report) this.#streams.get(report.connection)?.push(report.answer)
        else {
          process.kill('SIGKILL')
          reject('locked' in report
            ? new ThreadlineError('THREADLINE_DATA_FOLDER_LOCKED', report.locked)
            : notStarted(new Error(report.failed)))
        }
      })
    })
    process.once('exit', (code, signal) => { this.#ended(`${signal ?? code}`) })
    this.#processId = process.pid
    return process
  }

  #ended (reason: string): void {
    this.#running = undefined
    this.#processId = undefined
    if (this.#state === 'open') {
      this.#logger?.error({ reason }, 'The process of the embedded database has ended')
      if (this.#dataFolder === undefined) this.#state = 'lost'
    }
    for (const stream of this.#streams.values()) stream.destroy(new Error('The embedded database has ended'))
  }
}

function notStarted (cause: unknown): ThreadlineError {
  return new ThreadlineError('THREADLINE_STORAGE_UNAVAILABLE', 'The embedded database did not start', { cause })
}

// That a message did not arrive is told by `exit`.
function send (process: ChildProcess, request: PgliteRequest): void {
  process.send(request, () => undefined)
}

function hasEnded ({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null
}
