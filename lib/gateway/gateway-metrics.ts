import { createCounter, createHistogram } from '../context/instruments.ts'
import { metricDefinitions } from '../context/metric-definitions.ts'
import { toPublicError, type ErrorCode } from '../errors.ts'
import type { CommandType } from '../protocol/commands.ts'
import type { ConnectionRegistry } from './connection-registry.ts'
import type { Connection, Transport } from './connection.ts'
import type { SentEvent } from './sent-events.ts'

const closedConnections = createCounter(metricDefinitions.closedConnections)
const commands = createCounter(metricDefinitions.commands)
const deliveryDelay = createHistogram(metricDefinitions.deliveryDelay)

/** Counts a connection whose client is gone. */
export function countClosed (connection: Connection): void {
  closedConnections.add(1, { transport: connection.transport, reason: connection.ending })
}

/** Counts what a client has asked for; a frame that could not be read has no type. */
export function countCommand (type: CommandType | undefined, transport: 'socket' | 'http', outcome: 'ok' | ErrorCode): void {
  commands.add(1, { type: type ?? '_OTHER', transport, outcome })
}

/** The same for a request, whose outcome is that of `work`. */
export async function countingRequest<T> (type: CommandType, work: () => Promise<T>): Promise<T> {
  try {
    const result = await work()
    countCommand(type, 'http', 'ok')
    return result
  } catch (error) {
    countCommand(type, 'http', toPublicError(error).code)
    throw error
  }
}

/** How old an event of a thread was when it was written. What comes without a place in a log was made to be written at once. */
export function measureDelivery ({ event }: SentEvent): void {
  if (event.sequence === undefined) return
  const delayMs = Math.max(0, Date.now() - Date.parse(event.timestamp)) // another process's clock may be ahead
  deliveryDelay.record(delayMs / 1_000, { mode: event.replayed === true ? 'replayed' : 'live' })
}

/** The open connections by transport, and the bytes that their clients have not read. */
export interface ConnectionCensus {
  readonly open: Readonly<Record<Transport, number>>
  readonly unreadBytes: number
}

export function takeCensus (registry: ConnectionRegistry): ConnectionCensus {
  const open = { socket: 0, stream: 0, local: 0 }
  let unreadBytes = 0
  registry.forEach((connection) => {
    open[connection.transport] += 1
    unreadBytes += connection.unreadBytes
  })
  return { open, unreadBytes }
}
