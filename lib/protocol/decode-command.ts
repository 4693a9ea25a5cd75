import { Compile, type Validator } from 'typebox/compile'
import { ThreadlineError } from '../errors.ts'
import { commandSchemas, isCommandType, maxPayloadLevels, type Command } from './commands.ts'
import { isEventType } from './events.ts'

const validators = new Map<string, Validator>(
  Object.entries(commandSchemas).map(([type, schema]) => [type, Compile(schema)])
)

/** What can be said of a frame that could not be decoded, so that its answer can name it. */
export interface FrameNames { readonly type?: string, readonly id?: string }

/**
 * Text of a frame into a command, checked against its schema. Throws `THREADLINE_BAD_JSON`, `…_UNKNOWN_TYPE`,
 * `…_SERVER_ONLY_TYPE`, `…_EMPTY_CONTENT`, `…_THREAD_REQUIRED`, `…_INVALID_THREAD_ID`, `…_SENDER_MISMATCH` or `…_BAD_REQUEST`;
 * `cause` of the error is a `FrameNames`.
 */
export function decodeCommand (text: string): Command {
  const frame = parse(text)
  const names = namesOf(frame)
  const fail = (code: ConstructorParameters<typeof ThreadlineError>[0], message?: string): never => {
    throw new ThreadlineError(code, message, { cause: names })
  }

  const { type } = frame
  if (!isCommandType(type)) {
    const shown = typeof type === 'string' ? type.slice(0, 64) : typeof type
    if (isEventType(type)) return fail('THREADLINE_SERVER_ONLY_TYPE', `Only the server sends ${shown}`)
    return fail('THREADLINE_UNKNOWN_TYPE', `There is no message type ${JSON.stringify(shown)}`)
  }
  if (namesSender(frame)) return fail('THREADLINE_SENDER_MISMATCH')

  const candidate = { payload: {}, ...frame }
  const validator = validators.get(type)
  if (validator?.Check(candidate) === true) {
    if (isNestedTooDeep(candidate.payload)) return fail('THREADLINE_BAD_REQUEST', 'payload is nested too deep')
    return candidate as unknown as Command // the schema has just been checked
  }
  return explain(candidate, validator?.Errors(candidate)[0]?.instancePath ?? '', fail)
}

function parse (text: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new ThreadlineError('THREADLINE_BAD_JSON', undefined, { cause: {} }) // the parser's message would echo the input
  }
  if (!isObject(value)) throw new ThreadlineError('THREADLINE_BAD_JSON', undefined, { cause: {} })
  return value
}

function namesOf (frame: Record<string, unknown>): FrameNames {
  return {
    ...(typeof frame['type'] === 'string' ? { type: frame['type'].slice(0, 64) } : {}),
    ...(typeof frame['id'] === 'string' ? { id: frame['id'].slice(0, 128) } : {})
  }
}

/** Nobody but the token says who is sending. */
function namesSender (frame: Record<string, unknown>): boolean {
  const payload = isObject(frame['payload']) ? frame['payload'] : {}
  return ['user_id', 'userId', 'sender', 'sender_id'].some((key) => Object.hasOwn(frame, key) || Object.hasOwn(payload, key))
}

function explain (
  frame: Record<string, unknown>, path: string,
  fail: (code: ConstructorParameters<typeof ThreadlineError>[0], message?: string) => never
): never {
  const payload = isObject(frame['payload']) ? frame['payload'] : {}
  if (needsThread(frame['type']) && payload['thread_id'] === undefined) return fail('THREADLINE_THREAD_REQUIRED')
  if (path.endsWith('/thread_id')) return fail('THREADLINE_INVALID_THREAD_ID')
  if (path.endsWith('/run_id')) return fail('THREADLINE_INVALID_RUN_ID')
  const text = frame['type'] === 'start_agent' ? payload['input'] : payload['content']
  const sendsText = frame['type'] === 'start_agent' || frame['type'] === 'user_message'
  if (sendsText && (typeof text !== 'string' || text.trim() === '')) return fail('THREADLINE_EMPTY_CONTENT')
  return fail('THREADLINE_BAD_REQUEST', `${path === '' ? 'The message' : path.slice(1)} does not match its schema`)
}

function needsThread (type: unknown): boolean {
  return isCommandType(type) && 'thread_id' in commandSchemas[type].properties.payload.properties
}

/** What no schema can say of a payload: whatever handles it goes through it recursively. */
export function isNestedTooDeep (payload: unknown): boolean {
  return !isNestedAtMost(maxPayloadLevels, payload)
}

function isNestedAtMost (levels: number, value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true
  return levels > 0 && Object.values(value).every((item) => isNestedAtMost(levels - 1, item))
}

function isObject (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
