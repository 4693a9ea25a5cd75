import { once } from 'node:events'
import { WebSocket } from 'ws'
import type { ServerEvent } from '../lib/protocol/events.ts'
import { within } from './within.ts'

/** One tab of a user: a socket of its own, in a thread of the user. */
export interface StageUser {
  readonly userId: string
  readonly threadId: string
  readonly token: string
  /** Everything that the user's socket received. */
  readonly received: readonly ServerEvent[]
  /** Sends a message and waits for the end of its run. Rejects when it is refused, and when there is no end within the limit. */
  say (content: string, options?: SayOptions): Promise<ServerEvent<'agent_completed'>>
  /** Sends any frame. */
  send (frame: unknown): void
  /** Sends a command under an id of its own, and waits for the event that answers it, an error too. */
  ask (command: { readonly type: string, readonly payload: object, readonly [name: string]: unknown }): Promise<ServerEvent>
  /** The first event that matches, of those that came and that are still to come. Rejects when there is none within the limit. */
  until (matches: (event: ServerEvent) => boolean): Promise<ServerEvent>
  /** Resolves when everything that the server had sent so far has arrived. */
  settled (): Promise<void>
  leave (): Promise<void>
}

export interface SayOptions {
  readonly agent?: string
  readonly metadata?: Readonly<Record<string, unknown>>
  /** Called when the message is accepted, with its run. */
  readonly accepted?: (runId: string) => void
}

export interface StageUserOptions {
  /** `http://127.0.0.1:<port>` */
  readonly url: string
  readonly userId: string
  readonly threadId: string
  readonly token: string
  /** How long anything may take that is waited for. */
  readonly limitMs: number
}

/** Connects; resolves once the user has been told where it is. Rejects when the handshake is refused. */
export async function connectStageUser (options: StageUserOptions): Promise<StageUser> {
  const { url, userId, threadId, token, limitMs } = options
  const address = `${url.replace('http', 'ws')}/v1/socket?thread_id=${threadId}`
  const socket = new WebSocket(address, ['threadline.v1', `bearer.${token}`])
  const { received, until } = keepReceived(socket, options)
  const send = (frame: unknown): void => { socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame)) }

  const ask: StageUser['ask'] = async (command) => {
    const id = crypto.randomUUID()
    send({ ...command, id })
    return await until(`an answer to ${command.type}`, (event) => event.reply_to === id)
  }

  await within(`the handshake of ${userId}`, once(socket, 'open'), limitMs)
  await until('connection_established', (event) => event.type === 'connection_established')

  return {
    userId,
    threadId,
    token,
    received,
    send,
    ask,
    until: (matches) => until('an event', matches),
    async say (content, { agent, metadata, accepted } = {}) {
      const payload = { content, ...(agent === undefined ? {} : { agent }), ...(metadata === undefined ? {} : { metadata }) }
      const answer = await ask({ type: 'user_message', payload })
      if (answer.type !== 'message_accepted') throw new Error(`${userId} was refused: ${JSON.stringify(answer.payload)}`)
      const runId = 'run_id' in answer.payload ? answer.payload.run_id : undefined
      if (runId !== undefined) accepted?.(runId)
      const ended = await until('the end of a run', (event) => event.type === 'agent_completed' && event.run_id === runId)
      return ended as ServerEvent<'agent_completed'> // its type was compared
    },
    async settled () { await ask({ type: 'ping', payload: {} }) },
    async leave () {
      if (socket.readyState === WebSocket.CLOSED) return
      const closed = once(socket, 'close')
      socket.close()
      await closed
    }
  }
}

/** Keeps what a socket receives, and lets it be waited for. */
function keepReceived (socket: WebSocket, { userId, limitMs }: StageUserOptions) {
  const received: ServerEvent[] = []
  const waiting = new Set<() => void>()
  socket.on('message', (data: Buffer) => {
    received.push(JSON.parse(data.toString('utf8')) as ServerEvent) // what the server promises to send
    for (const ask of waiting) ask()
  })

  const until = async (what: string, matches: (event: ServerEvent) => boolean): Promise<ServerEvent> => {
    const { promise, resolve } = Promise.withResolvers<ServerEvent>()
    const look = (): void => {
      const found = received.find(matches)
      if (found !== undefined) resolve(found)
    }
    waiting.add(look)
    look()
    try {
      return await within(`${what}, which ${userId} was to be sent`, promise, limitMs)
    } finally {
      waiting.delete(look)
    }
  }
  return { received: received as readonly ServerEvent[], until }
}
