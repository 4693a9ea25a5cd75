import type { CommandType } from '../lib/protocol/commands.ts'
import type { EventType } from '../lib/protocol/events.ts'
import { answers, type AnswerTo, type CommandToSend } from './answers.ts'
import { ThreadlineClientError } from './client-error.ts'
import type { Clock } from './clock.ts'
import type { ThreadlineEvent } from './threadline-event.ts'

/** One command: waiting to go out → sent → answered. A drop ends it, or takes it back to waiting where `resend` is set. */
interface Pending {
  readonly command: CommandToSend<CommandType> & { readonly id: string }
  /** Where the connection was, or was about to be, when the caller sent this. */
  readonly thread: string | null
  readonly resend: boolean
  sent: boolean
  readonly settle: (answer: ThreadlineEvent | ThreadlineClientError) => void
}

interface PendingOptions {
  readonly clock: Clock
  readonly maxPending: number
}

interface AddOptions {
  readonly thread: string | null
  readonly timeoutMs: number
  readonly resend: boolean
  readonly signal: AbortSignal | undefined
}

/** Commands of which a retry under the same id is the same command to the server. */
const idempotent: readonly CommandType[] = ['user_message', 'start_agent', 'regenerate']

/** Commands that open a thread, and move the connection into it, when the connection has none. */
const openers: ReadonlySet<CommandType | undefined> = new Set(['user_message', 'start_agent'] as const)

/** Commands that happen in a thread, so that going out in another one would be wrong. */
const threaded: readonly CommandType[] = [
  'user_message', 'start_agent', 'regenerate', 'select_branch', 'stop_agent', 'get_run', 'get_run_isolation', 'list_runs',
  'get_thread_history', 'resume', 'typing'
]

/** The commands that wait for their answer, in the order in which they were sent. Bounded; one too many is refused. */
export class PendingCommands {
  readonly #options: PendingOptions
  readonly #pending = new Map<string, Pending>()

  constructor (options: PendingOptions) {
    this.#options = options
  }

  add<Name extends CommandType> (command: CommandToSend<Name>, options: AddOptions): Promise<AnswerTo<Name>> {
    const id = command.id ?? crypto.randomUUID()
    return new Promise((resolve, reject) => {
      const { signal } = options
      if (signal?.aborted === true) return reject(new ThreadlineClientError('CLIENT_ABORTED', { cause: signal.reason }))
      if (this.#pending.has(id)) return reject(new ThreadlineClientError('CLIENT_DUPLICATE_ID'))
      if (this.#pending.size >= this.#options.maxPending) return reject(new ThreadlineClientError('CLIENT_BUFFER_FULL'))

      const settle = (answer: ThreadlineEvent | ThreadlineClientError): void => {
        this.#pending.delete(id)
        cancelTimeout()
        signal?.removeEventListener('abort', abort)
        if (answer instanceof ThreadlineClientError) reject(answer)
        else resolve(answer as AnswerTo<Name>) // `answer` has compared the type with that of the command
      }
      const abort = (): void => { settle(new ThreadlineClientError('CLIENT_ABORTED', { cause: signal?.reason })) }
      const cancelTimeout = this.#options.clock.schedule(options.timeoutMs, () => { settle(new ThreadlineClientError('CLIENT_TIMED_OUT')) })
      signal?.addEventListener('abort', abort)

      const thread = this.#threadToCome() ?? options.thread
      const resend = options.resend && idempotent.includes(command.type)
      this.#pending.set(id, { command: { ...command, id }, thread, resend, sent: false, settle })
    })
  }

  /** Gives what has not gone out to `transmit`, for a connection in `thread`. Stops at the first that it does not take. */
  flush (thread: string | null, transmit: (text: string) => boolean): void {
    for (const pending of this.#pending.values()) {
      if (pending.sent) continue
      pending.sent = transmit(JSON.stringify(addressed(pending, thread)))
      if (!pending.sent) return
    }
  }

  answer (event: ThreadlineEvent): void {
    const pending = event.reply_to === undefined ? undefined : this.#pending.get(event.reply_to)
    if (pending === undefined) return
    if (event.type === 'error') {
      const { code, message, retryable } = event.payload
      pending.settle(new ThreadlineClientError(code, { message, retryable }))
    } else if (isAnswer(event, pending.command.type)) {
      pending.settle(event)
    }
  }

  /** Whether the event came of a waiting command that moves the connection into the thread that it opens. */
  isMovedBy ({ reply_to: id }: ThreadlineEvent): boolean {
    return id !== undefined && openers.has(this.#pending.get(id)?.command.type)
  }

  /** Whether the event came of a waiting command that was written before there was a thread, and that names none. */
  isWrittenNowhere ({ reply_to: id }: ThreadlineEvent): boolean {
    const pending = id === undefined ? undefined : this.#pending.get(id)
    return pending !== undefined && pending.thread === null && pending.command.thread_id === undefined
  }

  /** The connection is gone: what went out ends, or waits to go out again. */
  connectionLost (): void {
    for (const pending of this.#pending.values()) {
      if (pending.sent && !pending.resend) pending.settle(new ThreadlineClientError('CLIENT_DISCONNECTED'))
      pending.sent = false
    }
  }

  failAll (error: ThreadlineClientError): void {
    for (const pending of this.#pending.values()) pending.settle(error)
  }

  /** Where the connection will be when a switch that is on its way has been done. */
  #threadToCome (): string | undefined {
    return [...this.#pending.values()].map(({ command }) => switchTarget(command)).findLast((target) => target !== undefined)
  }
}

function isAnswer ({ type }: ThreadlineEvent, command: CommandType): boolean {
  return (answers[command] as readonly EventType[]).includes(type) // widened: the list of one command holds no other's types
}

function switchTarget ({ type, payload }: CommandToSend<CommandType>): string | undefined {
  return type === 'switch_thread' && 'thread_id' in payload ? payload.thread_id : undefined
}

/** The frame, with its thread named where the connection is in another one than the command was written in. */
function addressed ({ command, thread }: Pending, current: string | null): CommandToSend<CommandType> {
  const misplaced = thread !== null && thread !== current && command.thread_id === undefined
  return misplaced && threaded.includes(command.type) ? { ...command, thread_id: thread } : command
}
