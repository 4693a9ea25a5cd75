import { once } from 'node:events'
import { WebSocket } from 'ws'
import type { EventType, RunEventType, ServerEvent } from '../../lib/protocol/events.ts'
import { isRunEventType } from '../../lib/protocol/events.ts'
import { checkEvent } from './conformance-record.ts'

export interface Close { readonly code: number, readonly reason: string }

/** What a test sends: a command, or whatever it takes to be refused. */
export type Sendable = { readonly type: string, readonly [key: string]: unknown }

type Matching = (event: ServerEvent) => boolean

/**
 * A raw client of the protocol: it keeps every event that it was ever sent, in order, compares each with its schema, and waits for what a
 * test asks for. It knows nothing of Threadline's own client, so that the server alone is under test.
 */
export class TestSocket {
  readonly #socket: WebSocket
  readonly events: ServerEvent[] = []
  readonly closed: Promise<Close>
  readonly #waiting = new Set<() => void>()

  constructor (socket: WebSocket) {
    this.#socket = socket
    socket.on('message', (data: Buffer) => {
      const event = JSON.parse(data.toString('utf8')) as ServerEvent // compared with its schema at once
      checkEvent(event)
      this.events.push(event)
      for (const ask of this.#waiting) ask()
    })
    this.closed = new Promise((resolve) => {
      socket.once('close', (code, reason) => {
        resolve({ code, reason: reason.toString('utf8') })
        for (const ask of this.#waiting) ask()
      })
    })
  }

  get raw (): WebSocket { return this.#socket }

  /** Sends a command under an id of its own, and resolves with the event that answers it. */
  async ask (command: Sendable): Promise<ServerEvent> {
    const id = typeof command['id'] === 'string' ? command['id'] : crypto.randomUUID()
    const from = this.events.length
    this.send({ ...command, id })
    // A message on a socket without a thread is answered by the new thread first.
    const makesThread = command.type === 'create_thread' || command.type === 'fork_thread'
    const isAnswer = (event: ServerEvent): boolean => event.type !== 'thread_created' || makesThread
    return await this.next((event) => event.reply_to === id && isAnswer(event), from)
  }

  send (command: Sendable): void {
    this.sendText(JSON.stringify(command))
  }

  sendText (text: string): void {
    this.#socket.send(text)
  }

  /** Sends a message and resolves with the end of its run. Only for a socket that is in the run's thread. */
  async chat (content: string, more: Record<string, unknown> = {}): Promise<ServerEvent<'agent_completed'>> {
    const accepted = await this.ask({ type: 'user_message', payload: { content, ...more } })
    if (accepted.type !== 'message_accepted') throw new Error(`Not accepted: ${JSON.stringify(accepted)}`)
    return await this.until('agent_completed', (event) => event.run_id === accepted.run_id)
  }

  /** The first event that matches, from those after the first `from` ones; waits for it. Rejects when the socket closes first. */
  async next (matches: Matching, from = 0): Promise<ServerEvent> {
    return await new Promise((resolve, reject) => {
      const ask = (): void => {
        const found = this.events.slice(from).find(matches)
        if (found === undefined && this.#socket.readyState !== WebSocket.CLOSED) return
        this.#waiting.delete(ask)
        if (found !== undefined) resolve(found)
        else reject(new Error(`The socket closed; it had received ${this.events.map(({ type }) => type).join(', ')}`))
      }
      this.#waiting.add(ask)
      ask()
    })
  }

  async until<Type extends EventType> (
    type: Type, matches: (event: ServerEvent<Type>) => boolean = () => true, from = 0
  ): Promise<ServerEvent<Type>> {
    const found = await this.next((event) => event.type === type && matches(event as ServerEvent<Type>), from)
    return found as ServerEvent<Type> // its type was compared
  }

  ofType<Type extends EventType> (type: Type): readonly ServerEvent<Type>[] {
    return this.events.filter((event): event is ServerEvent<Type> => event.type === type)
  }

  get runEvents (): readonly ServerEvent<RunEventType>[] {
    return this.events.filter((event): event is ServerEvent<RunEventType> => isRunEventType(event.type))
  }

  /** Everything that the server has sent until now has arrived when this resolves: a ping is answered in order. */
  async settled (): Promise<readonly ServerEvent[]> {
    await this.ask({ type: 'ping', payload: {} })
    return this.events
  }

  async close (): Promise<Close> {
    this.#socket.close()
    return await this.closed
  }

  /** Drops the connection without a goodbye. */
  drop (): void {
    this.#socket.terminate()
  }
}

export interface Refusal { readonly status: number, readonly body: { error?: { code: string, request_id: string } } }

/** Opens a socket; resolves with it once it is open, or with the answer that refused the upgrade. */
export async function openSocket (url: string, options: { protocols?: string[], headers?: Record<string, string> } = {}): Promise<TestSocket | Refusal> {
  const socket = new WebSocket(url, options.protocols ?? [], { headers: options.headers ?? {} })
  const client = new TestSocket(socket)
  return await new Promise((resolve, reject) => {
    socket.once('open', () => { resolve(client) })
    socket.once('error', reject)
    socket.once('unexpected-response', (_request, response) => {
      collect(response).then((body) => { resolve({ status: response.statusCode ?? 0, body }) }, reject)
    })
  })
}

async function collect (response: NodeJS.ReadableStream): Promise<Refusal['body']> {
  const chunks: Buffer[] = []
  response.on('data', (chunk: Buffer) => chunks.push(chunk))
  await once(response, 'end')
  const text = Buffer.concat(chunks).toString('utf8')
  return text === '' ? {} : JSON.parse(text) as Refusal['body']
}
