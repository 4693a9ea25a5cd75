import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { WebSocketServer, type WebSocket } from 'ws'
import type { EventType, PayloadOf } from '../../lib/protocol/events.ts'
import { createArrivals } from './arrivals.ts'

/** A frame as a client sent it. */
export interface ReceivedCommand {
  readonly type: string
  readonly id?: string
  readonly thread_id?: string
  readonly payload: Readonly<Record<string, unknown>>
}

export interface ScriptedConnection {
  readonly threadId: string | null
  /** The position from which the client wants to be told, as it stands in the URL. */
  readonly position: { readonly after: string | null, readonly epoch: string | null }
  readonly token: string
  readonly offered: readonly string[]
  /** The next command, or the next of that type; others stay. */
  command (type?: string): Promise<ReceivedCommand>
  readonly unread: readonly ReceivedCommand[]
  send<Type extends EventType> (type: Type, payload: PayloadOf<Type>, envelope?: Envelope): void
  sendText (text: string): void
  establish (threadId: string | null, at?: { userId?: string, sequence?: number, epoch?: string }): void
  close (code: number, reason?: string): void
  /** The client has read everything that was sent, and what it sent in return is here. */
  roundTrip (): Promise<void>
  /** Without a close frame: the client sees 1006. */
  drop (): void
  readonly closed: Promise<{ readonly code: number }>
}

interface Envelope {
  readonly thread_id?: string | null
  readonly sequence?: number
  readonly epoch?: string
  readonly run_id?: string
  readonly reply_to?: string | undefined
  readonly agent_name?: string
}

export interface ScriptedServer {
  readonly url: string
  /** The next connection that came about. */
  connection (): Promise<ScriptedConnection>
  /** Answers the next upgrades with this HTTP status, and asks to come again in so many seconds, until told otherwise. */
  refuseUpgrades (status: number | undefined, retryAfter?: number): void
  /** Answers `POST /v1/dev/tokens` from now on; by default with a token that names the user and counts up. */
  answerTokens (answer: (userId: string, response: ServerResponse) => void): void
  close (): Promise<void>
}

let events = 0

/**
 * A real server that says only what the test tells it to say: the client is what is tested. It keeps to the handshake of the
 * protocol (path, subprotocol, token) and to the shape of events.
 */
export async function startScriptedServer (t: { teardown: (fn: () => Promise<void>) => void }): Promise<ScriptedServer> {
  const connections = createArrivals<ScriptedConnection>()
  const sockets = new WebSocketServer({ noServer: true, handleProtocols: (offered) => offered.has('threadline.v1') && 'threadline.v1' })
  let refusal: number | undefined
  let retryHeader = ''
  let tokens = 0
  let answerToken = (userId: string, response: ServerResponse): void => {
    response.writeHead(201, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ token: `${userId}-${++tokens}`, user_id: userId, expires_at: '2030-01-01T00:00:00.000Z' }))
  }

  const server = createServer((request, response) => {
    void readBody(request).then((body) => {
      if (request.url === '/v1/dev/tokens') answerToken((JSON.parse(body) as { user_id: string }).user_id, response) // the client's own request
      else response.writeHead(404).end()
    })
  })
  server.on('upgrade', (request, socket, head) => {
    if (refusal !== undefined || !request.url?.startsWith('/v1/socket')) {
      socket.end(`HTTP/1.1 ${refusal ?? 404} Refused\r\n${retryHeader}Content-Length: 0\r\nConnection: close\r\n\r\n`)
      return
    }
    sockets.handleUpgrade(request, socket, head, (accepted) => { connections.push(script(accepted, request)) })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))

  const close = async (): Promise<void> => {
    for (const client of sockets.clients) client.terminate()
    server.closeAllConnections()
    await new Promise<void>((resolve) => server.close(() => { resolve() }))
  }
  t.teardown(close)
  const { port } = server.address() as AddressInfo // it listens on a port

  return {
    url: `http://127.0.0.1:${port}`,
    connection: () => connections.next(),
    refuseUpgrades (status, retryAfter) {
      refusal = status
      retryHeader = retryAfter === undefined ? '' : `Retry-After: ${retryAfter}\r\n`
    },
    answerTokens (answer) { answerToken = answer },
    close
  }
}

function script (socket: WebSocket, request: IncomingMessage): ScriptedConnection {
  const commands = createArrivals<ReceivedCommand>()
  const offered = (request.headers['sec-websocket-protocol'] ?? '').split(/,\s*/)
  const closed = Promise.withResolvers<{ code: number }>()
  let user = ''
  let thread: string | null = null
  // A client sends text frames only, so this is the text of one.
  socket.on('message', (data) => { commands.push(JSON.parse((data as Buffer).toString()) as ReceivedCommand) })
  socket.on('close', (code) => { closed.resolve({ code }) })

  const send: ScriptedConnection['send'] = (type, payload, envelope = {}) => {
    socket.send(JSON.stringify({
      type,
      event_id: uuid(++events),
      timestamp: '2026-11-22T12:00:00.000Z',
      user_id: user,
      thread_id: thread,
      request_id: uuid(++events),
      ...(envelope.sequence === undefined ? {} : { epoch: 'first' }),
      ...envelope,
      payload
    }))
  }

  const { searchParams } = new URL(request.url ?? '', 'http://localhost')
  return {
    threadId: searchParams.get('thread_id'),
    position: { after: searchParams.get('after'), epoch: searchParams.get('epoch') },
    token: offered.find((protocol) => protocol.startsWith('bearer.'))?.slice('bearer.'.length) ?? '',
    offered,
    command: (type) => commands.next((command) => type === undefined || command.type === type),
    get unread () { return commands.waiting },
    send,
    sendText (text) { socket.send(text) },
    establish (threadId, { userId = 'alice', sequence = 0, epoch = 'first' } = {}) {
      user = userId
      thread = threadId
      send('connection_established', {
        connection_id: `connection-${++events}`, user_id: userId, thread_id: threadId, token_expires_at: null, sequence, epoch, active_runs: []
      })
    },
    close (code, reason) { socket.close(code, reason) },
    roundTrip: () => new Promise((resolve) => {
      socket.once('pong', () => { resolve() })
      socket.ping()
    }),
    drop () { socket.terminate() },
    closed: closed.promise
  }
}

/** A UUIDv7 by its look, told from others by its number. */
export function uuid (number: number): string {
  return `01900000-0000-7000-8000-${number.toString(16).padStart(12, '0')}`
}

export function runId (threadId: string, number: number): string {
  return `run_${threadId}_${uuid(number)}`
}

async function readBody (request: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of request) text += (chunk as Buffer).toString() // a request without encoding gives buffers
  return text
}
