import { request, type ClientRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { createParser } from 'eventsource-parser'
import { Value } from 'typebox/value'
import type { EventType, RunEventType, ServerEvent } from '../../lib/protocol/events.ts'
import { isEventType, isRunEventType } from '../../lib/protocol/events.ts'
import { StreamClose } from '../../lib/protocol/event-stream.ts'
import { checkEvent } from './conformance-record.ts'

/** One event as it stood in the stream. */
export interface Received { readonly id: string | undefined, readonly event: string | undefined, readonly data: string }

export interface StreamRequest {
  readonly method?: 'GET' | 'POST' | 'HEAD'
  readonly token?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: unknown
}

export interface HttpAnswer { readonly status: number, readonly headers: IncomingHttpHeaders, readonly text: string }

type Matching = (event: ServerEvent) => boolean

/**
 * A raw reader of an event stream, over a connection of its own: it keeps everything that it was ever sent, in order, parsed as the
 * standard says by a parser that is not ours, and waits for what a test asks for.
 */
export class TestStream {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly received: Received[] = []
  readonly events: ServerEvent[] = []
  readonly comments: string[] = []
  /** What an `EventSource` would send when it comes back. */
  lastEventId = ''
  retryMs: number | undefined
  /** The data of the event `close`. */
  goodbye: StreamClose | undefined
  /** `ended` when the server completed the response, `cut` when the connection broke off. */
  readonly closed: Promise<'ended' | 'cut'>
  readonly #request: ClientRequest
  readonly #response: IncomingMessage
  readonly #waiting = new Set<() => void>()
  #over = false

  constructor (request: ClientRequest, response: IncomingMessage) {
    this.#request = request
    this.#response = response
    this.status = response.statusCode ?? 0
    this.headers = response.headers
    const parser = createParser({
      onEvent: ({ id, event, data }) => { this.#take({ id, event, data }) },
      onId: (id) => { this.lastEventId = id },
      onRetry: (retryMs) => { this.retryMs = retryMs },
      onComment: (comment) => {
        this.comments.push(comment)
        this.#ask()
      },
      onError: (error) => { throw error }
    })
    response.setEncoding('utf8')
    response.on('data', (text: string) => { parser.feed(text) })
    response.on('error', () => {}) // told by `close`
    this.closed = new Promise((resolve) => {
      response.once('close', () => {
        this.#over = true
        resolve(response.complete ? 'ended' : 'cut')
        this.#ask()
      })
    })
  }

  /** The first event that matches, from those after the first `from` ones; waits for it. Rejects when the stream is over first. */
  async next (matches: Matching, from = 0): Promise<ServerEvent> {
    return await this.#until(() => this.events.slice(from).find(matches))
  }

  async until<Type extends EventType> (
    type: Type, matches: (event: ServerEvent<Type>) => boolean = () => true, from = 0
  ): Promise<ServerEvent<Type>> {
    const found = await this.next((event) => event.type === type && matches(event as ServerEvent<Type>), from)
    return found as ServerEvent<Type> // its type was compared
  }

  async comment (): Promise<string> {
    return await this.#until(() => this.comments.shift())
  }

  ofType<Type extends EventType> (type: Type): readonly ServerEvent<Type>[] {
    return this.events.filter((event): event is ServerEvent<Type> => event.type === type)
  }

  get runEvents (): readonly ServerEvent<RunEventType>[] {
    return this.events.filter((event): event is ServerEvent<RunEventType> => isRunEventType(event.type))
  }

  /** Stops reading: what the server writes stays on its way. */
  pause (): void { this.#response.pause() }
  resume (): void { this.#response.resume() }

  /** Leaves, as a page does that is closed. */
  drop (): void { this.#request.destroy() }

  #take (received: Received): void {
    this.received.push(received)
    const data = JSON.parse(received.data) as ServerEvent | StreamClose
    if (isEvent(data)) {
      checkEvent(data)
      this.events.push(data)
    } else {
      this.goodbye = Value.Parse(StreamClose, data)
    }
    this.#ask()
  }

  #ask (): void {
    for (const ask of this.#waiting) ask()
  }

  async #until<Found> (find: () => Found | undefined): Promise<Found> {
    return await new Promise((resolve, reject) => {
      const ask = (): void => {
        const found = find()
        if (found === undefined && !this.#over) return
        this.#waiting.delete(ask)
        if (found !== undefined) resolve(found)
        else reject(new Error(`The stream is over; it had ${this.received.map(({ event }) => event).join(', ')}`))
      }
      this.#waiting.add(ask)
      ask()
    })
  }
}

function isEvent (data: ServerEvent | StreamClose): data is ServerEvent {
  return 'type' in data && isEventType(data.type)
}

/** Sends a request; resolves with the stream that answers it, or with the answer when that is none. */
export async function openStream (url: string, options: StreamRequest = {}): Promise<TestStream | HttpAnswer> {
  const { method = 'GET', token, headers = {}, body } = options
  return await new Promise((resolve, reject) => {
    const sent = request(url, {
      method,
      agent: false,
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers
      }
    })
    sent.once('error', reject)
    sent.once('response', (response: IncomingMessage) => {
      if (response.headers['content-type'] === 'text/event-stream') resolve(new TestStream(sent, response))
      else collect(response).then((text) => { resolve({ status: response.statusCode ?? 0, headers: response.headers, text }) }, reject)
    })
    sent.end(body === undefined ? undefined : JSON.stringify(body))
  })
}

async function collect (response: IncomingMessage): Promise<string> {
  let text = ''
  response.setEncoding('utf8')
  for await (const chunk of response) text += String(chunk)
  return text
}
