import { setTimeout as sleep } from 'node:timers/promises'
import type { PayloadOf, ServerEvent } from '../../../lib/protocol/events.ts'
import { isEvent } from '../is-event.ts'
import { openSocket, TestSocket } from '../test-socket.ts'
import { within } from '../within.ts'
import type { Answer, ClientRecord, ConnectionRecord, Received } from './history.ts'

/** Where a client can connect to. */
export interface Gateway { readonly name: string, readonly url: string }

export interface ClusterClientOptions {
  readonly name: string
  readonly user: string
  readonly threadId: string
  readonly token: string
  /** Asked at each attempt. */
  readonly gateways: () => readonly Gateway[]
  /** The gateway that it tries first; after that one after the other. */
  readonly first: number
}

interface Sent { readonly id: string, readonly content: string, readonly answers: Answer[], readonly refusals: PayloadOf<'error'>[] }
interface Connection extends ConnectionRecord { readonly received: Received[], readonly socket: TestSocket }

const pingMs = 500
const silenceMs = 3_000
const connectMs = 5_000
const answerMs = 6_000
const retryMs = 50

/**
 * One client of a cluster in one thread: it comes back whenever it is thrown out or hears nothing, to the next gateway, with the sequence that it has seen
 * last; sends a message again under its id until it is accepted; and keeps all that it has sent and seen. It filters nothing, so that the service alone is
 * under test.
 */
export class ClusterClient {
  readonly name: string
  readonly user: string
  readonly threadId: string
  readonly #options: ClusterClientOptions
  readonly #sent: Sent[] = []
  readonly #connections: Connection[] = []
  readonly #waiting = new Set<() => void>()
  readonly #attempts: string[] = []
  #gateway: number
  #last = 0
  #epoch: string | undefined
  #leaving = false
  readonly #left: Promise<void>

  constructor (options: ClusterClientOptions) {
    this.#options = options
    this.name = options.name
    this.user = options.user
    this.threadId = options.threadId
    this.#gateway = options.first
    this.#left = this.#stay()
  }

  get connected (): boolean { return this.#current !== undefined }
  /** The sequence that it has seen last. */
  get last (): number { return this.#last }
  /** The node that it is connected to. */
  get node (): string | undefined { return this.#current?.node }

  get #current (): Connection | undefined {
    const connection = this.#connections.at(-1)
    return connection !== undefined && connection.socket.raw.readyState === connection.socket.raw.OPEN && this.#isEstablished(connection) ? connection : undefined
  }

  /** Resolves with the id of its run when the message is accepted, however often it has to be sent. */
  async say (content: string, payload: Readonly<Record<string, unknown>> = {}): Promise<string> {
    const id = `${this.name}-${this.#sent.length}`
    const sent: Sent = { id, content, answers: [], refusals: [] }
    this.#sent.push(sent)
    const command = { type: 'user_message', id, payload: { content, ...payload } }
    const accept = async (): Promise<string> => {
      while (!this.#leaving) {
        const answer = await this.#ask(command)
        if (answer === undefined) {
          await sleep(retryMs)
          continue
        }
        if (isEvent(answer, 'message_accepted')) return this.#accepted(sent, answer)
        if (!isEvent(answer, 'error') || !answer.payload.retryable) throw new Error(`${id} was answered with ${JSON.stringify(answer)}`)
        sent.refusals.push(answer.payload)
        await sleep(retryMs)
      }
      throw new Error(`${this.name} has left`)
    }
    return await within(() => `the acceptance of ${id}; ${this.#state}`, accept(), 60_000)
  }

  /** Resolves when the client was told the end of the run, with the ms of the clock at which it was. */
  async toldEnd (runId: string, timeoutMs = 60_000): Promise<Received> {
    return await this.told(`the end of ${runId}`, ({ type, run_id: run }) => type === 'agent_completed' && run === runId, timeoutMs)
  }

  /** Resolves with what matches of all that the client was ever told, or will be. */
  async told (what: string, matches: (event: ServerEvent) => boolean, timeoutMs = 60_000): Promise<Received> {
    const find = (): Received | undefined => this.#connections.flatMap(({ received }) => received).find(({ event }) => matches(event))
    return await within(() => `${this.name} to be told ${what}; ${this.#state}`, this.#until(find), timeoutMs)
  }

  /** Resolves when the client has seen everything up to a sequence. */
  async toldTo (sequence: number): Promise<void> {
    await within(() => `${this.name} to be told ${sequence}; ${this.#state}`, this.#until(() => this.#last >= sequence ? true : undefined), 60_000)
  }

  async ready (): Promise<void> {
    await within(() => `${this.name} to be connected; ${this.#state}`, this.#until(() => this.connected ? true : undefined), 60_000)
  }

  /** Loses its connection without a goodbye, and comes back. */
  drop (): void {
    this.#connections.at(-1)?.socket.drop()
  }

  async leave (): Promise<void> {
    this.#leaving = true
    this.#connections.at(-1)?.socket.drop()
    await this.#left
  }

  /** All that it has sent and seen until now. */
  record (toTheEnd: boolean): ClientRecord {
    const { name, user, threadId } = this
    const connections = this.#connections.map(({ node, after, received }) => ({ node, after, received: [...received] }))
    return { name, user, threadId, sent: this.#sent, connections, toTheEnd }
  }

  /** What went wrong before a message was accepted. */
  get refusals (): readonly PayloadOf<'error'>[] { return this.#sent.flatMap(({ refusals }) => refusals) }

  /** Sends a command on a connection that is established; undefined when it was not answered there, or too late. */
  async #ask (command: { readonly type: string, readonly id: string, readonly payload: object }): Promise<ServerEvent | undefined> {
    await this.ready()
    const connection = this.#current
    if (connection === undefined) return undefined
    const { socket } = connection
    const from = socket.events.length
    socket.send(command)
    try {
      return await within(`an answer to ${command.id}`, socket.next(({ reply_to: id }) => id === command.id, from), answerMs)
    } catch {
      socket.drop() // it is closed, or as good as that, and another one follows
      return undefined
    }
  }

  #accepted (sent: Sent, { payload }: ServerEvent<'message_accepted'>): string {
    const { message_id: messageId, run_id: runId, duplicate } = payload
    sent.answers.push({ messageId, runId, duplicate })
    return runId
  }

  /** Keeps a connection until the client leaves. */
  async #stay (): Promise<void> {
    while (!this.#leaving) {
      const gateways = this.#options.gateways()
      const gateway = gateways[this.#gateway++ % gateways.length]
      const socket = gateway === undefined ? undefined : await this.#open(gateway)
      if (gateway !== undefined && socket !== undefined) await this.#listen(gateway, socket)
      await sleep(retryMs)
    }
  }

  async #open ({ name, url }: Gateway): Promise<TestSocket | undefined> {
    const query = new URLSearchParams({
      thread_id: this.threadId, ...(this.#epoch === undefined ? {} : { after: String(this.#last), epoch: this.#epoch })
    })
    try {
      const opening = openSocket(`${url.replace('http', 'ws')}/v1/socket?${query.toString()}`, { protocols: ['threadline.v1', `bearer.${this.#options.token}`] })
      const opened = await within(`${this.name} to be let in at ${name}`, opening, connectMs)
      if (opened instanceof TestSocket) return opened
      this.#attempts.push(`${name}: ${opened.status} ${opened.body.error?.code ?? ''}`)
    } catch (error) {
      this.#attempts.push(`${name}: ${error instanceof Error ? error.message : String(error)}`) // another attempt follows
    }
    return undefined
  }

  async #listen ({ name: node }: Gateway, socket: TestSocket): Promise<void> {
    const connection: Connection = { node, after: this.#epoch === undefined ? undefined : this.#last, received: [], socket }
    this.#connections.push(connection)
    if (this.#leaving) socket.drop()
    let heardMs = performance.now()
    let taken = 0
    const take = (): void => {
      heardMs = performance.now()
      for (const event of socket.events.slice(taken)) this.#receive(connection, event)
      taken = socket.events.length
    }
    take()
    socket.raw.on('message', take)
    const heartbeat = setInterval(() => {
      if (performance.now() - heardMs > silenceMs) socket.drop()
      else if (socket.raw.readyState === socket.raw.OPEN) socket.send({ type: 'ping', id: 'heartbeat', payload: {} })
    }, pingMs)
    const { code, reason } = await socket.closed
    clearInterval(heartbeat)
    this.#attempts.push(`${node}: closed with ${code} ${reason}`)
    this.#wake()
  }

  #receive (connection: Connection, event: ServerEvent): void {
    if (event.reply_to === 'heartbeat') return
    connection.received.push({ atMs: performance.now(), event })
    if (isEvent(event, 'connection_established')) {
      if (this.#epoch === undefined) this.#last = event.payload.sequence
      this.#epoch = event.payload.epoch
    }
    if (event.sequence !== undefined) this.#last = Math.max(this.#last, event.sequence)
    this.#wake()
  }

  #isEstablished ({ received }: Connection): boolean {
    return received[0] !== undefined
  }

  async #until<T> (find: () => T | undefined): Promise<T> {
    return await new Promise((resolve) => {
      const look = (): void => {
        const found = find()
        if (found === undefined) return
        this.#waiting.delete(look)
        resolve(found)
      }
      this.#waiting.add(look)
      look()
    })
  }

  #wake (): void {
    for (const look of this.#waiting) look()
  }

  get #state (): string {
    return `it is ${this.connected ? `connected to ${this.node}` : 'not connected'} at ${this.#last}, after ${this.#attempts.slice(-5).join('; ')}`
  }
}
