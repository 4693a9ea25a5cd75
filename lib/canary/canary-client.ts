import { ThreadlineError } from '../errors.ts'
import type { JoinedClient } from '../gateway/gateway.ts'
import type { Outbox, Sent } from '../gateway/outbox.ts'
import type { AnswerType } from '../protocol/answers.ts'
import type { CloseReason } from '../protocol/close-codes.ts'
import type { CommandOf, CommandType } from '../protocol/commands.ts'
import type { EventType, ServerEvent } from '../protocol/events.ts'
import type { UserId } from '../protocol/ids.ts'

export interface CanaryClientOptions {
  readonly userId: UserId
  /** Registers the client with the gateway. */
  readonly join: (outbox: Outbox) => JoinedClient
  /** Ends whatever is waited for, with its reason. */
  readonly signal: AbortSignal
  /** Called with each event that the client was sent, as it was written. */
  readonly received: (event: ServerEvent) => void
}

/** What a command is without the ids that the client gives it. */
type Asked<Name extends CommandType> = Omit<CommandOf<Name>, 'id' | 'type'> & { readonly type: Name }

/** More than a round could ever tell. */
const maxEvents = 1_000

/**
 * A client without a socket: it writes frames as text, and reads the frames that are written for it, as any other client does. It keeps what it
 * was sent, in order, and ends with its signal.
 */
export class CanaryClient implements Outbox {
  /** It lives as long as its process. */
  readonly duplex = false
  readonly userId: UserId
  readonly events: ServerEvent[] = []
  readonly gone: Promise<void>
  readonly #joined: JoinedClient
  readonly #options: CanaryClientOptions
  readonly #leave: () => void
  readonly #waiting = new Set<() => void>()
  #closed: CloseReason | 'terminated' | undefined

  constructor (options: CanaryClientOptions) {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.userId = options.userId
    this.gone = promise
    this.#leave = resolve
    this.#options = options
    this.#joined = options.join(this)
  }

  get connectionId () { return this.#joined.connectionId }

  open (): void {}

  send (_event: ServerEvent, frame: string): Sent {
    if (this.#closed !== undefined) return 'dead'
    if (this.events.length >= maxEvents) {
      this.close('slowConsumer')
      return 'overflow'
    }
    const event = JSON.parse(frame) as ServerEvent // written by the gateway
    this.events.push(event)
    this.#options.received(event)
    this.#tellWaiting()
    return 'sent'
  }

  async drained (): Promise<void> {}

  close (reason: CloseReason): void { this.#end(reason) }

  ping (): void {}

  terminate (): void { this.#end('terminated') }

  /** Sends a command of the client's own thread, and resolves with what answers it, be it an error. Rejects when the client is closed first, or its signal aborted. */
  async ask<Name extends CommandType> (command: Asked<Name>): Promise<ServerEvent<AnswerType<Name> | 'error'>> {
    const id = crypto.randomUUID()
    this.#joined.send(JSON.stringify({ ...command, id }))
    const answer = await this.until((event) => event.reply_to === id)
    return answer as ServerEvent<AnswerType<Name> | 'error'> // by the table of answers
  }

  /** The first event that matches; waits for it. Rejects as `ask` does. */
  async until (matches: (event: ServerEvent) => boolean): Promise<ServerEvent> {
    const { signal } = this.#options
    return await new Promise((resolve, reject) => {
      const look = (): void => {
        const found = this.events.find(matches)
        if (found === undefined && this.#closed === undefined && !signal.aborted) return
        this.#waiting.delete(look)
        signal.removeEventListener('abort', look)
        if (found !== undefined) resolve(found)
        else reject(this.#closed === undefined ? reasonOf(signal) : closedError(this.#closed))
      }
      this.#waiting.add(look)
      signal.addEventListener('abort', look)
      look()
    })
  }

  #end (reason: CloseReason | 'terminated'): void {
    this.#closed ??= reason
    this.#leave()
    this.#tellWaiting()
  }

  #tellWaiting (): void {
    for (const look of this.#waiting) look()
  }
}

export function isEventOf<Type extends EventType> (event: ServerEvent, type: Type): event is ServerEvent<Type> {
  return event.type === type
}

function reasonOf ({ reason }: AbortSignal): Error {
  return reason instanceof Error ? reason : new ThreadlineError('THREADLINE_CANCELLED')
}

function closedError (reason: CloseReason | 'terminated'): Error {
  if (reason === 'drain') return new ThreadlineError('THREADLINE_SHUTTING_DOWN')
  return new Error(`The connection of a canary was closed (${reason})`)
}
