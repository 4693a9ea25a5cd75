import { attributes } from '../context/attributes.ts'
import { withHop } from '../context/hop.ts'
import type { ServerEvent } from '../protocol/events.ts'
import type { Connection } from './connection.ts'

/** Writes an event to one connection that listens to it, as the hop `socket.send`. */
export function writeAsHop (connection: Connection, event: ServerEvent): void {
  if (!connection.hears(event)) return
  const spanAttributes = {
    [attributes.connectionId]: connection.connectionId,
    [attributes.eventType]: event.type,
    [attributes.eventId]: event.event_id
  }
  withHop('socket.send', { attributes: spanAttributes }, () => connection.write(event))
}

/** Writes an event to each of the connections that listen to it, and have been told where they are. */
export function writeToAll (connections: Iterable<Connection>, event: ServerEvent): void {
  const frame = JSON.stringify(event)
  for (const connection of connections) {
    if (connection.state !== 'connecting' && connection.hears(event)) connection.write(event, frame)
  }
}
