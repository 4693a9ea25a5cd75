import type { Position } from './sequence-filter.ts'

/** What the client needs of a WebSocket: the global one of browsers and Node has it, and so has `ws`. */
export interface Socket {
  send (text: string): void
  close (code?: number, reason?: string): void
  /** Only `ws`: ends a connection whose other side does not answer. */
  terminate? (): void
  addEventListener (type: 'open' | 'message' | 'close' | 'error', listener: (event: SocketEvent) => void): void
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
export interface Start { readonly threadId: string | null, readonly position?: Position | undefined }

/** The address of the socket on the service at `base`, whose scheme may be http or ws. Throws a `TypeError` for anything else. */
export function socketUrl (base: string, { threadId, position }: Start): string {
  const url = new URL(base)
  if (url.protocol === 'http:') url.protocol = 'ws:'
  if (url.protocol === 'https:') url.protocol = 'wss:'
  if (url.protocol !== 'ws:' && url.protocol !== 'wss:') throw new TypeError(`Not the URL of a service: ${base}`)
  url.pathname = `${url.pathname.replace(/\/+$/, '')}/v1/socket`
  url.search = ''
  url.hash = ''
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
  socket.addEventListener('error', ({ message }) => { refusal ??= refusalOf(message) })
  socket.addEventListener('close', ({ code = abnormal, reason = '' }) => {
    onClose(code === abnormal && refusal !== undefined ? refusal : { code, reason })
  })
  return socket
}

/**
 * An HTTP status instead of the upgrade, as the close code that means the same (401 is 4401). Only `ws` tells the status;
 * to browsers it is a connection like any other that did not come about.
 */
function refusalOf (message = ''): SocketClose | undefined {
  const status = /^Unexpected server response: ([45]\d\d)$/.exec(message)?.[1]
  return status === undefined ? undefined : { code: 4000 + Number(status), reason: `HTTP status ${status}` }
}

/** Ends a connection that nobody waits for any more. */
export function abandon (socket: Socket): void {
  if (socket.terminate === undefined) socket.close()
  else socket.terminate()
}
