import type { EventType, ServerEvent } from '../../lib/protocol/events.ts'

export function isEvent<Type extends EventType> (event: ServerEvent, type: Type): event is ServerEvent<Type> {
  return event.type === type
}
