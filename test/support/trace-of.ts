import type { ReadableSpan } from '@opentelemetry/sdk-trace'
import { attributes } from '../../lib/context/attributes.ts'
import type { ServerEvent } from '../../lib/protocol/events.ts'
import type { TestServer } from './start-server.ts'

/** The trace id that an event names. */
export function traceIdOf (event: Pick<ServerEvent, 'traceparent'>): string {
  return event.traceparent?.split('-')[1] ?? ''
}

export const hopOf = (span: ReadableSpan): unknown => span.attributes[attributes.hop]

/** All spans of the trace that an event belongs to, once the event's own delivery has ended. */
export async function traceOf (server: TestServer, event: ServerEvent): Promise<readonly ReadableSpan[]> {
  const traceId = traceIdOf(event)
  return await server.spans.until((spans) => {
    const trace = spans.filter((span) => span.spanContext().traceId === traceId)
    const delivered = trace.some((span) => hopOf(span) === 'socket.send' && span.attributes[attributes.eventId] === event.event_id)
    const received = trace.some((span) => hopOf(span) === 'socket.receive')
    return delivered && received ? trace : undefined
  })
}
