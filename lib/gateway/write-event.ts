import type { Attributes } from '@opentelemetry/api'
import { attributes } from '../context/attributes.ts'
import { withHop } from '../context/hop.ts'
import type { ServerEvent } from '../protocol/events.ts'
import type { Connection } from './connection.ts'

/**
 * The hop `socket.send`: `write` writes an event to a connection. Beside the identity in which that happens, the span says whose the
 * connection is, so that a trace shows both.
 */
export function sendAsHop<T> (connection: Connection, event: ServerEvent, write: () => T): T {
  const spanAttributes: Attributes = {
    [attributes.connectionId]: connection.connectionId,
    [attributes.recipientUserId]: connection.userId,
    [attributes.eventType]: event.type,
    [attributes.eventId]: event.event_id
  }
  if (connection.threadId !== undefined) spanAttributes[attributes.recipientThreadId] = connection.threadId
  if (event.sequence !== undefined) spanAttributes[attributes.sequence] = event.sequence
  return withHop('socket.send', { attributes: spanAttributes }, write)
}

/** Writes an event to one connection that listens to it, as the hop `socket.send`. */
export function writeAsHop (connection: Connection, event: ServerEvent): void {
  if (connection.hears(event)) sendAsHop(connection, event, () => connection.write(event))
}

/** Writes an event to each of the connections that listen to it, and have been told where they are. */
export function writeToAll (connections: Iterable<Connection>, event: ServerEvent): void {
  const frame = JSON.stringify(event)
  for (const connection of connections) {
    if (connection.state !== 'connecting' && connection.hears(event)) connection.write(event, frame)
  }
}
