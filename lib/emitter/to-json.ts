/** What stands in an event for something that JSON cannot say. */
const unreadable = '[unreadable]'

/**
 * Any value as plain JSON data, without throwing: dates as ISO 8601, sets and maps as arrays and objects, big integers as text,
 * errors by name and message, byte arrays by their length, cycles, functions and failing getters by a word in brackets, and
 * text without halves of surrogate pairs.
 * What an object's own `toJSON` says is respected.
 */
export function toJson (value: unknown): unknown {
  return convert(value, { parents: [], room: { left: maxObjects } })
}

/** Objects that are told in all: shared ones, which are told wherever they stand, could else multiply without bound. */
const maxObjects = 20_000

interface Place { readonly parents: readonly object[], readonly room: { left: number } }

function convert (value: unknown, place: Place): unknown {
  switch (typeof value) {
    case 'string': return value.toWellFormed()
    case 'boolean': return value
    case 'number': return Number.isFinite(value) ? value : String(value)
    case 'bigint': return value.toString()
    case 'undefined': return null
    case 'symbol': return value.toString().toWellFormed()
    case 'function': return '[function]'
    case 'object': return value === null ? null : convertObject(value, place)
  }
}

function convertObject (value: object, { parents, room }: Place): unknown {
  if (parents.includes(value)) return '[circular]'
  if (parents.length >= 32) return '[too deep]'
  room.left -= 1
  if (room.left < 0) return '[too large]'
  const inside = { parents: [...parents, value], room }
  try {
    if (value instanceof Date) return convert(Number.isNaN(value.getTime()) ? null : value.toISOString(), inside)
    if (value instanceof Error) return convertEntries([['name', value.name], ['message', value.message]], inside)
    if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`
    if (Array.isArray(value) || value instanceof Set) return [...value].map((item) => convert(item, inside))
    if (value instanceof Map) return convertEntries([...value].map(([key, item]) => [String(key), item]), inside)
    if ('toJSON' in value && typeof value.toJSON === 'function') return convert(value.toJSON(), inside)
    return convertEntries(Object.keys(value).map((key) => [key, readSafely(value, key)]), inside)
  } catch {
    return unreadable // a proxy or an iterator of the payload threw: the event is still told
  }
}

function convertEntries (entries: readonly (readonly [string, unknown])[], place: Place): Record<string, unknown> {
  const said = entries.filter(([, item]) => item !== undefined)
  return Object.fromEntries(said.map(([key, item]) => [key.toWellFormed(), convert(item, place)]))
}

function readSafely (value: object, key: string): unknown {
  try {
    return Reflect.get(value, key)
  } catch {
    return unreadable // the getter threw
  }
}
