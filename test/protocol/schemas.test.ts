import type { TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import t from 'tap'
import { errorCodes, ThreadlineError, toPublicError } from '../../lib/errors.ts'
import { commandSchemas, commandTypes, isCommandType } from '../../lib/protocol/commands.ts'
import { ErrorBody } from '../../lib/protocol/error-body.ts'
import { eventGuide } from '../../lib/protocol/event-guide.ts'
import { eventPayloads, eventSchemas, eventTypes, isEventType, isRunEventType, runEventTypes } from '../../lib/protocol/events.ts'
import { newEventId, newRequestId, newThreadId } from '../../lib/protocol/ids.ts'

const threadId = newThreadId()
const error = toPublicError(new ThreadlineError('THREADLINE_TOOL_FAILED'))
const envelope = { event_id: newEventId(), timestamp: new Date().toISOString(), user_id: 'alice', thread_id: threadId, request_id: newRequestId() }

/** Every schema inside a schema, itself among them. */
function partsOf (schema: unknown): readonly Record<string, unknown>[] {
  if (typeof schema !== 'object' || schema === null) return []
  return [schema as Record<string, unknown>, ...Object.values(schema).flatMap(partsOf)]
}

const all: Readonly<Record<string, TSchema>> = { ...commandSchemas, ...Object.fromEntries(Object.entries(eventSchemas).map(([type, schema]) => [`event ${type}`, schema])), ErrorBody }

t.test('every schema compiles, also when it comes back from JSON', async (t) => {
  for (const [name, schema] of Object.entries(all)) {
    t.doesNotThrow(() => Compile(schema), name)
    t.doesNotThrow(() => Compile(JSON.parse(JSON.stringify(schema)) as TSchema), `${name} from JSON`)
  }
})

t.test('every pattern in a schema is a regular expression of the kind that JSON Schema asks for, anchored at both ends or one character', async (t) => {
  const patterns = new Set(Object.values(all).flatMap(partsOf).flatMap(({ pattern, patternProperties }) => [
    ...(typeof pattern === 'string' ? [pattern] : []), ...Object.keys(patternProperties ?? {})
  ]))

  t.ok(patterns.size >= 4)
  for (const pattern of patterns) {
    t.doesNotThrow(() => new RegExp(pattern, 'u'), pattern)
    t.ok(pattern === '\\S' || /^\^.*\$$/.test(pattern), pattern)
  }
})

t.test('every text that a client sends has a greatest length, and every command takes no more than it names', async (t) => {
  for (const [name, schema] of Object.entries(commandSchemas)) {
    const texts = partsOf(schema).filter(({ type, pattern, const: constant, maxLength }) => type === 'string' && pattern === undefined && constant === undefined && maxLength === undefined)
    t.same(texts, [], name)
    t.match(schema.properties.payload, { additionalProperties: false }, name)
  }
})

t.test('F75 an event of each type as the server makes it matches its schema, and not without what every event has', async (t) => {
  for (const type of eventTypes) {
    const schema = eventSchemas[type]
    if (schema === undefined) { t.fail(type); continue }
    const validator = Compile(schema)
    const event = { type, ...envelope, payload: eventGuide[type].example }
    t.ok(validator.Check(event), type)
    for (const key of ['type', 'event_id', 'timestamp', 'user_id', 'thread_id', 'request_id', 'payload']) {
      t.notOk(validator.Check({ ...event, [key]: undefined }), `${type} without ${key}`)
    }
    t.notOk(validator.Check({ ...event, thread_id: 'not a thread' }) || validator.Check({ ...event, run_id: threadId }), type)
    t.notOk(validator.Check({ ...event, sequence: 0 }) || validator.Check({ ...event, sequence: 1.5 }), type)
  }
})

t.test('every error that can be told matches the schema of its answer', async (t) => {
  const validator = Compile(ErrorBody)
  const payload = Compile(eventPayloads.error)

  for (const code of errorCodes) {
    const told = toPublicError(new ThreadlineError(code))
    t.ok(payload.Check(told), code)
    t.ok(validator.Check({ error: { code, message: told.message, request_id: newRequestId() } }), code)
  }
  t.notOk(payload.Check({ ...error, code: 'THREADLINE_OTHER' }))
  t.notOk(validator.Check({ error: { code: 'THREADLINE_OTHER', message: 'x', request_id: 'y' } }))
})

t.test('types are told apart by their own names only', async (t) => {
  for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty', '', 'PING', 7, null, undefined, ['ping']]) {
    t.notOk(isCommandType(name) || isEventType(name) || isRunEventType(name), String(name))
  }
  t.ok(commandTypes.every(isCommandType))
  t.ok(eventTypes.every(isEventType))
  t.ok(runEventTypes.every((type) => isRunEventType(type) && isEventType(type) && !isCommandType(type)))
})
