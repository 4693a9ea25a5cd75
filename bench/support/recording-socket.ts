import { once } from 'node:events'
import { WebSocket } from 'ws'
import type { ServerEvent } from '../../lib/protocol/events.ts'
import { markersIn } from './marker.ts'

/** What one socket has received, small enough to be handed to another process. */
export interface SocketRecord {
  readonly frames: number
  readonly bytes: number
  /** Each marker that was in any frame, once. */
  readonly markers: readonly string[]
  readonly events: readonly SeenEvent[]
  readonly closeCode: number | undefined
}

export type SeenEvent = Pick<ServerEvent, 'type' | 'event_id' | 'user_id' | 'thread_id' | 'run_id' | 'sequence'>

type Matching = (event: ServerEvent) => boolean

/** A client of the protocol that keeps what it is sent, and looks for markers in the bytes themselves. */
export class RecordingSocket {
  readonly #socket: WebSocket
  readonly #events: ServerEvent[] = []
  readonly #markers = new Set<string>()
  readonly #waiting = new Set<{ readonly matches: Matching, readonly resolve: (event: ServerEvent) => void }>()
  readonly #gone = new AbortController()
  #bytes = 0
  #closeCode: number | undefined

  /** Resolves once the server has told `connection_established`. */
  static async connect (url: string, token: string, signal: AbortSignal): Promise<RecordingSocket> {
    const socket = new RecordingSocket(new WebSocket(url, ['threadline.v1', `bearer.${token}`]))
    await socket.next((event) => event.type === 'connection_established', signal)
    return socket
  }

  private constructor (socket: WebSocket) {
    this.#socket = socket
    socket.on('message', (data: Buffer) => { this.#receive(data.toString('utf8')) })
    socket.on('error', (error) => { this.#gone.abort(error) })
    socket.on('close', (code) => {
      this.#closeCode = code
      this.#gone.abort(new Error(`The socket was closed with ${code}`))
    })
  }

  send (command: object): void {
    this.#socket.send(JSON.stringify(command))
  }

  /** Sends a command and resolves with its answer. */
  async ask (command: object, signal: AbortSignal): Promise<ServerEvent> {
    const id = crypto.randomUUID()
    this.send({ ...command, id })
    return await this.next((event) => event.reply_to === id, signal)
  }

  /** The first event that matches, of all that came and will come. Rejects when the socket closes or `signal` is aborted first. */
  async next (matches: Matching, signal: AbortSignal): Promise<ServerEvent> {
    const found = this.#events.find(matches)
    if (found !== undefined) return found
    const ended = AbortSignal.any([signal, this.#gone.signal])
    ended.throwIfAborted()
    return await new Promise((resolve, reject) => {
      const waiting = { matches, resolve }
      this.#waiting.add(waiting)
      ended.addEventListener('abort', () => {
        this.#waiting.delete(waiting)
        reject(new Error(`${String(ended.reason)}; received until then: ${this.#events.map(({ type }) => type).join(', ')}`))
      }, { once: true })
    })
  }

  async close (): Promise<void> {
    if (this.#socket.readyState === WebSocket.CLOSED) return
    this.#socket.close()
    await once(this.#socket, 'close')
  }

  get record (): SocketRecord {
    return {
      frames: this.#events.length,
      bytes: this.#bytes,
      markers: [...this.#markers],
      events: this.#events.map(seen),
      closeCode: this.#closeCode
    }
  }

  #receive (text: string): void {
    this.#bytes += Buffer.byteLength(text)
    for (const marker of markersIn(text)) this.#markers.add(marker)
    const event = JSON.parse(text) as ServerEvent // the server's word; what is wrong with it is counted by the checks
    this.#events.push(event)
    for (const waiting of this.#waiting) {
      if (!waiting.matches(event)) continue
      this.#waiting.delete(waiting)
      waiting.resolve(event)
    }
  }
}

function seen ({ type, event_id, user_id, thread_id, run_id, sequence }: ServerEvent): SeenEvent {
  return {
    type, event_id, user_id, thread_id, ...(run_id === undefined ? {} : { run_id }), ...(sequence === undefined ? {} : { sequence })
  }
}
