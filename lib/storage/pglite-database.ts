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

/**
 * The embedded database, in a process of its own. starting → running → ended; in a folder it is started again when somebody
 * next asks for a connection, in memory it has lost everything and stays ended.
 */
export class PgliteDatabase {
  readonly #dataFolder: string | undefined
  readonly #logger: Logger | undefined
  readonly #streams = new Map<number, PgliteStream>()
  #connections = 0
  #closing = false
  #process: ChildProcess | undefined
  #running: Promise<void>

  /** Starts it. Throws `THREADLINE_DATA_FOLDER_LOCKED`, or `THREADLINE_STORAGE_UNAVAILABLE` when it does not start. */
  static async open (dataFolder: string | undefined, logger: Logger | undefined): Promise<PgliteDatabase> {
    const database = new PgliteDatabase(dataFolder, logger)
    await database.#running
    return database
  }

  private constructor (dataFolder: string | undefined, logger: Logger | undefined) {
    this.#dataFolder = dataFolder
    this.#logger = logger
    this.#running = this.#start()
  }

  /**
   * A connection. All of them share one session: only one may be in use at a time. It is destroyed with an error when the
   * process ends, so that nothing which was asked waits for ever.
   */
  openStream (): PgliteStream {
    const connection = ++this.#connections
    const stream = new PgliteStream({
      ready: this.#ready(),
      send: (frames) => { this.#send({ connection, frames }) },
      leave: () => { this.#streams.delete(connection) }
    })
    this.#streams.set(connection, stream)
    return stream
  }

  /** Closes the files and ends the process. */
  async close (): Promise<void> {
    this.#closing = true
    if (this.#process === undefined) return
    const ended = once(this.#process, 'exit')
    this.#send('close')
    await ended
  }

  async #ready (): Promise<void> {
    if (this.#process === undefined && this.#dataFolder !== undefined && !this.#closing) this.#running = this.#start()
    await this.#running
    if (this.#process === undefined) throw new Error('The embedded database has ended')
  }

  // More than one attempt: the WebAssembly engine of Node 24 now and then ends a process that loads as large a program as
  // Postgres (nodejs/node#64500).
  async #start (): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#startOnce()
        return
      } catch (error) {
        if (error instanceof ThreadlineError) throw error
        this.#logger?.warn({ err: error, attempt }, 'The embedded database did not start')
        if (attempt >= startAttempts) {
          throw new ThreadlineError('THREADLINE_STORAGE_UNAVAILABLE', 'The embedded database did not start', { cause: error })
        }
      }
    }
  }

  // The process takes over neither the environment nor the preloads of this one: it has no use for either.
  async #startOnce (): Promise<void> {
    const child = fork(program, this.#dataFolder === undefined ? [] : [this.#dataFolder], {
      env: {}, execArgv: [], serialization: 'advanced', stdio: ['ignore', 'ignore', 'inherit', 'ipc']
    })
    await new Promise<void>((resolve, reject) => {
      child.once('error', reject)
      child.once('exit', (code, signal) => { reject(new Error(`Its process ended with ${signal ?? code}`)) })
      child.on('message', (report: PgliteReport) => {
        if (report === 'ready') resolve()
        else if ('locked' in report) reject(new ThreadlineError('THREADLINE_DATA_FOLDER_LOCKED', report.locked))
        else this.#streams.get(report.connection)?.push(report.answer)
      })
    })
    this.#process = child
    child.once('exit', (code, signal) => { this.#ended(`Its process ended with ${signal ?? code}`) })
  }

  #ended (reason: string): void {
    this.#process = undefined
    if (!this.#closing) this.#logger?.error({ reason }, 'The embedded database has ended')
    for (const stream of this.#streams.values()) stream.destroy(new Error('The embedded database has ended'))
    this.#streams.clear()
  }

  #send (request: PgliteRequest): void {
    this.#process?.send(request, () => undefined) // that it did not arrive is told by `exit`
  }
}
