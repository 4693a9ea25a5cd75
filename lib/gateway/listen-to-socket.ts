import type { RawData, WebSocket } from 'ws'
import { bindThread } from '../context/bind.ts'
import { enterThread } from '../context/current-thread.ts'
import { createIdentity } from '../context/identity.ts'
import type { Logger } from '../context/logger.ts'
import { ThreadlineError } from '../errors.ts'
import type { CloseReason } from '../protocol/close-codes.ts'
import type { Attachment } from './attachment.ts'
import { countCommand } from './gateway-metrics.ts'
import { Inbox } from './inbox.ts'
import { receiveFrame, type ReceiveOptions } from './receive-frame.ts'

export interface ListenOptions {
  readonly attachment: Attachment
  readonly receiving: ReceiveOptions
  readonly logger: Logger
  readonly maxFrameBytes: number
  readonly maxInboxFrames: number
}

type Incoming = { readonly text: string } | 'establish'

/**
 * Ties a socket's frames to its connection, synchronously: no frame is lost, and none is handled before the client has been told
 * `connection_established`. Each listener is bound, because an emitter calls it in whatever context it has.
 */
export function listenToSocket (socket: WebSocket, options: ListenOptions): void {
  const { attachment: { connection }, logger } = options
  const { take, close } = takeFrames(options)
  socket.on('message', (data: RawData, isBinary: boolean) => { take(toBuffer(data), isBinary) })
  socket.on('pong', () => { connection.heard() })
  socket.on('error', bindThread((err: Error) => { logger.warn({ err }, 'a socket failed') }))
  socket.on('close', close)
}

export interface FrameTaker {
  /** Takes a frame, whoever calls, in the identity of the handshake. */
  readonly take: (bytes: Buffer, isBinary?: boolean) => void
  /** Takes none any more, and forgets those that wait. */
  readonly close: () => void
}

/** The frames of one client, in their order, behind `connection_established`; see `listenToSocket`. */
export function takeFrames (options: ListenOptions): FrameTaker {
  const { attachment, receiving } = options
  const inbox = new Inbox<Incoming>({
    limit: options.maxInboxFrames,
    work: (frame) => frame === 'establish' ? attachment.establish() : receiveFrame(attachment.connection, frame.text, receiving),
    failed: (err) => {
      inbox.close()
      attachment.fail(err)
    }
  })
  inbox.push('establish')
  return {
    take: bindThread((bytes: Buffer, isBinary = false) => { takeFrame(bytes, isBinary, inbox, options) }),
    close: () => { inbox.close() }
  }
}

function takeFrame (bytes: Buffer, isBinary: boolean, inbox: Inbox<Incoming>, { attachment, maxFrameBytes }: ListenOptions): void {
  const { connection } = attachment
  connection.spoke()
  if (!connection.active) return
  if (isBinary) return refuseFrame(attachment, new ThreadlineError('THREADLINE_BAD_JSON', 'Frames are text'), 'badFrame')
  if (bytes.byteLength > maxFrameBytes) return refuseFrame(attachment, new ThreadlineError('THREADLINE_BODY_TOO_LARGE'), 'tooLarge')
  if (inbox.push({ text: bytes.toString('utf8') })) return
  refuseFrame(attachment, new ThreadlineError('THREADLINE_RATE_LIMITED', 'Too many messages wait to be handled'))
}

/** A frame that is not even read is a request of its own as well. It is told in the trace of the handshake, having none. */
function refuseFrame (attachment: Attachment, error: ThreadlineError, reason?: CloseReason): void {
  const { userId, connectionId, threadId, handshake } = attachment.connection
  countCommand(undefined, 'socket', error.code)
  enterThread(createIdentity({ userId, connectionId, threadId }), () => { attachment.refuse(error, reason) }, { parent: handshake })
}

function toBuffer (data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data)
}
