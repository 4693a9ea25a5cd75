import type { TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import t from 'tap'
import { errorCodes, ThreadlineError, toPublicError } from '../../lib/errors.ts'
import { commandSchemas, commandTypes, isCommandType } from '../../lib/protocol/commands.ts'
import { ErrorBody } from '../../lib/protocol/error-body.ts'
import {
  eventPayloads, eventSchemas, eventTypes, isEventType, isRunEventType, runEventTypes, type EventType, type PayloadOf
} from '../../lib/protocol/events.ts'
import { newConnectionId, newEventId, newMessageId, newRequestId, newRunId, newThreadId } from '../../lib/protocol/ids.ts'

const [threadId, messageId] = [newThreadId(), newMessageId()]
const runId = newRunId(threadId)
const now = new Date().toISOString()
const thread = { thread_id: threadId, title: null, created_at: now, updated_at: now }
const message = { message_id: messageId, thread_id: threadId, run_id: runId, role: 'user', content: 'hello', created_at: now } as const
const error = toPublicError(new ThreadlineError('THREADLINE_TOOL_FAILED'))

const payloads: { readonly [Type in EventType]: PayloadOf<Type> } = {
  connection_established: { connection_id: newConnectionId(), user_id: 'alice', thread_id: null, token_expires_at: null, sequence: 0, epoch: 'e' },
  error,
  pong: {},
  message_accepted: { message_id: messageId, run_id: runId, duplicate: false },
  run_created: { message_id: messageId, run_id: runId },
  run_queued: { run_id: runId, position: 1 },
  runs_stopping: { run_ids: [runId] },
  thread_created: thread,
  thread_updated: { ...thread, title: 'First' },
  thread_deleted: { thread_id: threadId },
  thread_list: { threads: [thread], total: 1, limit: 10, offset: 0 },
  thread_switched: { thread, messages: [message], sequence: 3, epoch: 'e' },
  thread_history: { messages: [{ ...message, run_id: null, role: 'assistant' }], has_more: false },
  typing: { is_typing: true, thread_id: threadId },
  presence: { connections: 2 },
  token_expiring: { expires_at: now },
  token_renewed: { expires_at: null },
  agent_started: { agent: 'assistant', message_id: messageId, input: 'hello' },
  agent_thinking: { message: 'Reading', step: 0 },
  agent_delta: { text: 'Hi', step: 1 },
  tool_executing: { tool_call_id: 'call-1', tool: 'search', parameters: { q: 'x' } },
  tool_completed: { tool_call_id: 'call-1', tool: 'search', success: false, duration_ms: 1, error },
  agent_completed: { status: 'completed', message_id: messageId, content: 'Hi', usage: { input_tokens: 1, output_tokens: 1 } }
}

const envelope = { event_id: newEventId(), timestamp: now, user_id: 'alice', thread_id: threadId, request_id: newRequestId() }

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
  t.same(Object.keys(payloads).toSorted(), eventTypes.toSorted())
  for (const type of eventTypes) {
    const schema = eventSchemas[type]
    if (schema === undefined) { t.fail(type); continue }
    const validator = Compile(schema)
    const event = { type, ...envelope, payload: payloads[type] }
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
