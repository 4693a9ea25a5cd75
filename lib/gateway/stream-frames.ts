import { closeCodes, type CloseReason } from '../protocol/close-codes.ts'
import { toEventId, type StreamClose } from '../protocol/event-stream.ts'
import type { EventType, ServerEvent } from '../protocol/events.ts'

/** The text of an event stream (HTML Living Standard, section 9.2.5). JSON has no raw line breaks, so that an event is one line of data. */

/** Events that tell a position of the thread, without being at one themselves. */
const tellPosition: readonly EventType[] = ['connection_established', 'resumed', 'resync_required']

/**
 * An event as it goes over a socket, with the place from which a reader that has seen it goes on. `resuming` says that the reader is told first
 * where the thread stands and then what it has missed: it has not seen that yet.
 */
export function eventFrame (event: ServerEvent, json: string, resuming: boolean): string {
  const id = idOf(event, resuming)
  return `${id === undefined ? '' : `id: ${id}\n`}event: ${event.type}\ndata: ${json}\n\n`
}

function idOf (event: ServerEvent, resuming: boolean): string | undefined {
  const { type, sequence, epoch, payload } = event
  if (sequence !== undefined && epoch !== undefined) return toEventId({ after: sequence, epoch })
  if (!tellPosition.includes(type) || (resuming && type === 'connection_established')) return undefined
  if (!('sequence' in payload)) return undefined
  return toEventId({ after: payload.sequence, epoch: payload.epoch })
}

/** The last event of a stream that the server ends before it is complete. */
export function closeFrame (reason: CloseReason): string {
  const close: StreamClose = { code: closeCodes[reason], reason }
  return `event: close\ndata: ${JSON.stringify(close)}\n\n`
}

export const heartbeatFrame = ': heartbeat\n\n'

/** After how long a reader that lost its stream comes back: not all of them at once. */
export function retryFrame (): string {
  return `retry: ${500 + Math.floor(Math.random() * 1_500)}\n\n`
}
