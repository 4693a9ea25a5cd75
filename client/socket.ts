import type { Position } from './sequence-filter.ts'

/** What the client needs of a WebSocket: the global one of browsers and Node has it, and so has `ws`. */
export interface Socket {
  send (text: string): void
  close (code?: number, reason?: string): void
  /** Only `ws`: ends a connection whose other side does not answer. */
  terminate? (): void
  /** Only `ws`: an answer instead of the upgrade. Whoever listens to it ends the attempt. */
  on? (type: 'unexpected-response', listener: (request: unknown, response: UpgradeRefusal) => void): void
  addEventListener (type: 'open' | 'message' | 'close' | 'error', listener: (event: SocketEvent) => void): void
}

interface UpgradeRefusal {
  readonly statusCode?: number | undefined
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
}

export interface SocketEvent {
  readonly type: string
  readonly data?: unknown
  readonly code?: number
  readonly reason?: string
  readonly message?: string
}

export type SocketConstructor = new (url: string, protocols: string[]) => Socket

export interface SocketClose {
  readonly code: number
  readonly reason: string
  /** When the server asks to come again, in ms from now, if it does. */
  readonly retryAfterMs?: number | undefined
}

interface SocketRequest {
  readonly WebSocket: SocketConstructor
  readonly url: string
  readonly token: string
}

interface SocketHandlers {
  readonly onMessage: (data: unknown) => void
  /** Once, however the connection ended or did not begin. */
  readonly onClose: (close: SocketClose) => void
}

/** RFC 6455, 7.1.5: what is reported when a connection ended without a close frame. */
const abnormal = 1006
const subprotocol = 'threadline.v1'

/** Where a connection is to start: in a thread, and there after the last event that was seen. */
export interface Start {
  readonly threadId: string | null
  readonly position?: Position | undefined
  /** The connection that was lost, whose place this one takes. */
  readonly replaces?: string | undefined
}

/** The address of the socket on the service at `base`, whose scheme may be http or ws. Throws a `TypeError` for anything else. */
export function socketUrl (base: string, { threadId, position, replaces }: Start): string {
  const url = new URL(base)
  if (url.protocol === 'http:') url.protocol = 'ws:'
  if (url.protocol === 'https:') url.protocol = 'wss:'
  if (url.protocol !== 'ws:' && url.protocol !== 'wss:') throw new TypeError(`Not the URL of a service: ${base}`)
  url.pathname = `${url.pathname.replace(/\/+$/, '')}/v1/socket`
  url.search = ''
  url.hash = ''
  if (replaces !== undefined) url.searchParams.set('replaces', replaces)
  if (threadId === null) return url.href
  url.searchParams.set('thread_id', threadId)
  if (position !== undefined) {
    url.searchParams.set('after', String(position.after))
    url.searchParams.set('epoch', position.epoch)
  }
  return url.href
}

/**
 * Opens a socket with the token as an offered subprotocol, which also works in a browser, where headers cannot be set.
 * Throws a `SyntaxError` for a token that no subprotocol can carry.
 */
export function openSocket ({ WebSocket, url, token }: SocketRequest, { onMessage, onClose }: SocketHandlers): Socket {
  const socket = new WebSocket(url, [subprotocol, `bearer.${token}`])
  let refusal: SocketClose | undefined

  socket.addEventListener('message', ({ data }) => { onMessage(data) })
  socket.addEventListener('error', ({ message }) => { refusal ??= refusalOf(/^Unexpected server response: (\d+)$/.exec(message ?? '')?.[1]) })
  socket.on?.('unexpected-response', (_request, { statusCode, headers }) => {
    refusal = refusalOf(statusCode, headers['retry-after'])
    abandon(socket)
  })
  socket.addEventListener('close', ({ code = abnormal, reason = '' }) => {
    onClose(code === abnormal && refusal !== undefined ? refusal : { code, reason })
  })
  return socket
}

/**
 * An HTTP status instead of the upgrade, as the close code that means the same (401 is 4401). Only `ws` tells the status;
 * to browsers it is a connection like any other that did not come about.
 */
function refusalOf (status: number | string | undefined, retryAfter?: string | string[]): SocketClose | undefined {
  const code = Number(status)
  if (!(code >= 400 && code < 600)) return undefined
  return { code: 4000 + code, reason: `HTTP status ${code}`, retryAfterMs: /^\d{1,6}$/.test(String(retryAfter)) ? Number(retryAfter) * 1_000 : undefined }
}

/** Ends a connection that nobody waits for any more. */
export function abandon (socket: Socket): void {
  if (socket.terminate === undefined) socket.close()
  else socket.terminate()
}
