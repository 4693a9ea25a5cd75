import type { EventType, ServerEvent } from '../lib/protocol/events.ts'

/** An event by its type: `event.type === 'agent_delta'` tells TypeScript the payload. */
export type ThreadlineEvent<Name extends EventType = EventType> = { [Each in Name]: ServerEvent<Each> }[Name]

/**
 * Text of a frame into an event, or undefined when it is not one. Only the envelope is checked: a type that this
 * version does not know yet is passed on, so a `switch` over `type` needs a default.
 */
export function decodeEvent (data: unknown): ThreadlineEvent | undefined {
  if (typeof data !== 'string') return undefined
  let value: unknown
  try {
    value = JSON.parse(data)
  } catch {
    return undefined // not JSON is not an event; the caller says so
  }
  if (!isObject(value) || typeof value['type'] !== 'string' || !isObject(value['payload'])) return undefined
  return value as unknown as ThreadlineEvent // the envelope was just checked; the server's schemas promise the payload
}

function isObject (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
