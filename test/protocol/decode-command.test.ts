import fc from 'fast-check'
import t from 'tap'
import { errorCodes, isThreadlineError, type ErrorCode, type ThreadlineError } from '../../lib/errors.ts'
import { commandTypes, maxContentCharacters, type CommandType } from '../../lib/protocol/commands.ts'
import { decodeCommand } from '../../lib/protocol/decode-command.ts'
import { eventTypes } from '../../lib/protocol/events.ts'
import { isThreadId, newMessageId, newRunId, newThreadId } from '../../lib/protocol/ids.ts'
import { anyText } from '../support/arbitraries.ts'
import { hostileThreadIds } from '../support/hostile-ids.ts'

type Frame = Record<string, unknown>

const threadId = newThreadId()

/** A payload that its schema accepts, for each command. */
const payloads: Readonly<Record<CommandType, Frame>> = {
  user_message: { content: 'hello' },
  start_agent: { agent: 'assistant', input: 'hello' },
  regenerate: { message_id: newMessageId(), agent: 'assistant', multitask_strategy: 'interrupt' },
  select_branch: { message_id: newMessageId() },
  stop_agent: { run_id: newRunId(threadId) },
  get_run: { run_id: newRunId(threadId) },
  get_run_isolation: { run_id: newRunId(threadId) },
  list_runs: { before: newRunId(threadId), limit: 10 },
  resume: { after: 0, epoch: 'first' },
  create_thread: { title: 'First', metadata: { colour: 'red' } },
  get_thread: { thread_id: threadId },
  update_thread: { thread_id: threadId, title: 'First', metadata: {} },
  archive_thread: { thread_id: threadId },
  restore_thread: { thread_id: threadId },
  fork_thread: { thread_id: threadId, message_id: newMessageId(), title: 'Second' },
  rename_thread: { thread_id: threadId, title: 'First' },
  delete_thread: { thread_id: threadId },
  list_threads: { state: 'archived', cursor: 'next', limit: 10, offset: 10 },
  search_threads: { query: 'red otters', cursor: 'next', limit: 10 },
  switch_thread: { thread_id: threadId },
  get_thread_history: { before: newMessageId(), limit: 50 },
  authenticate: { token: 'a.b.c' },
  typing: { is_typing: true },
  ping: {}
}

const text = (frame: unknown): string => JSON.stringify(frame)
const decode = (frame: unknown): Frame => ({ ...decodeCommand(text(frame)) })
const message = (payload: Frame, more: Frame = {}): Frame => ({ type: 'user_message', payload: { content: 'hello', ...payload }, ...more })

/** The error with which the frame is refused. */
function refusal (frame: string): ThreadlineError {
  try {
    decodeCommand(frame)
  } catch (error) {
    if (isThreadlineError(error)) return error
    throw error
  }
  throw new Error(`Not refused: ${frame.slice(0, 200)}`)
}
const codeOf = (frame: unknown): ErrorCode => refusal(text(frame)).code

t.test('a command of each type is decoded as it was sent', async (t) => {
  for (const type of commandTypes) {
    const frame = { type, id: 'mine', thread_id: threadId, payload: payloads[type], traceparent: 'anything' }
    t.strictSame(decode(frame), frame, type)
  }
})

t.test('what is optional may be left out, and the payload too when nothing in it is required', async (t) => {
  for (const type of ['regenerate', 'stop_agent', 'list_runs', 'create_thread', 'list_threads', 'get_thread_history', 'typing', 'ping']) {
    t.strictSame(decode({ type }), { type, payload: {} }, type)
  }
})

t.test('H109 what is not a JSON object is refused, and the parser\'s own words, which echo the input, are not told', async (t) => {
  const frames = ['', ' ', 'hello', '{', '{"type":"ping"', "{'type':'ping'}", '{"type":"ping"}}', '{"type":"ping",}', '\ufeff{"type":"ping"}', '\u0000', 'undefined', 'NaN', 'null', 'true', '7', '"ping"', '[]', '[{"type":"ping"}]']

  for (const frame of frames) {
    const error = refusal(frame)
    t.match(error, { code: 'THREADLINE_BAD_JSON', message: 'The frame is not a JSON object', cause: {} }, frame)
  }
})

t.test('H111 an unknown type is named in its refusal, and cut', async (t) => {
  t.match(refusal(text({ type: 'make_coffee', id: 'mine' })), {
    code: 'THREADLINE_UNKNOWN_TYPE', message: /"make_coffee"/, cause: { type: 'make_coffee', id: 'mine' }
  })
  for (const type of ['', ' ', 'PING', 'ping ', 'ping\u0000', '__proto__', 'constructor', 'toString', 'hasOwnProperty', 'x'.repeat(100_000)]) {
    const error = refusal(text({ type }))
    t.equal(error.code, 'THREADLINE_UNKNOWN_TYPE', type.slice(0, 20))
    t.ok(error.message.length < 120)
  }
  for (const type of [undefined, null, 7, true, [], ['ping'], { type: 'ping' }]) t.equal(codeOf({ type }), 'THREADLINE_UNKNOWN_TYPE', text(type))
})

t.test('F89 a type that only the server sends is refused as such', async (t) => {
  const serverOnly = eventTypes.filter((type) => !(commandTypes as readonly string[]).includes(type))

  for (const type of serverOnly) t.match(refusal(text({ type, payload: {} })), { code: 'THREADLINE_SERVER_ONLY_TYPE', message: new RegExp(type) })
  t.ok(serverOnly.includes('agent_started') && serverOnly.includes('connection_established'))
})

// kill: namesSender looks into the frame and not into its payload.
t.test('D49 a frame that names its sender is refused, wherever it does and whomever it names', async (t) => {
  for (const type of commandTypes) {
    for (const key of ['user_id', 'userId', 'sender', 'sender_id']) {
      for (const value of ['alice', '', null]) {
        t.equal(codeOf({ type, payload: payloads[type], [key]: value }), 'THREADLINE_SENDER_MISMATCH', `${type} ${key}`)
        t.equal(codeOf({ type, payload: { ...payloads[type], [key]: value } }), 'THREADLINE_SENDER_MISMATCH', `${type} payload.${key}`)
      }
    }
  }
})

t.test('E55 a command that is about a thread needs its id', async (t) => {
  for (const type of ['switch_thread', 'rename_thread', 'delete_thread']) {
    for (const frame of [{ type }, { type, payload: {} }, { type, payload: null }, { type, payload: [] }, { type, thread_id: threadId, payload: { title: 'New' } }]) {
      t.equal(codeOf(frame), 'THREADLINE_THREAD_REQUIRED', text(frame))
    }
  }
})

// kill: ThreadIdText of the commands is any text; the pattern of a UUID has no end.
t.test('E68 a hostile thread id is refused in every place where a thread id can stand', async (t) => {
  const hostile: readonly [string, unknown][] = [
    ...Object.entries(hostileThreadIds), ['null', null], ['number', 7], ['huge number', 1e308], ['list', [threadId]], ['object', { thread_id: threadId }], ['boolean', true]
  ]

  for (const [name, id] of hostile) {
    for (const type of commandTypes) {
      t.equal(codeOf({ type, thread_id: id, payload: payloads[type] }), 'THREADLINE_INVALID_THREAD_ID', `${type}: ${name}`)
    }
    for (const type of ['switch_thread', 'rename_thread', 'delete_thread'] as const) {
      t.equal(codeOf({ type, payload: { ...payloads[type], thread_id: id } }), 'THREADLINE_INVALID_THREAD_ID', `${type} payload: ${name}`)
    }
    if (name === 'a run id') continue // there it belongs
    t.equal(codeOf({ type: 'stop_agent', payload: { run_id: id } }), 'THREADLINE_INVALID_RUN_ID', `run id: ${name}`)
    t.equal(codeOf({ type: 'stop_agent', payload: { run_id: `run_${text(id)}_${threadId}` } }), 'THREADLINE_INVALID_RUN_ID', `in a run id: ${name}`)
    t.equal(codeOf({ type: 'get_thread_history', payload: { before: id } }), 'THREADLINE_BAD_REQUEST', `before: ${name}`)
  }
})

t.test('E68 a refusal does not echo what it refuses', async (t) => {
  const script = '<script>alert(1)</script>'

  for (const frame of [
    { type: 'switch_thread', payload: { thread_id: script } }, message({ agent: [script] }), message({ multitask_strategy: script }), `{"type": ${script}`
  ]) {
    const error = refusal(typeof frame === 'string' ? frame : text(frame))
    t.notOk(error.message.includes('script'), error.message)
    t.notOk(text(error.cause).includes('script'))
  }
})

t.test('H112 a message needs text', async (t) => {
  for (const content of ['', ' ', '\n\t', '\u00a0', '\u2003', null, undefined, 7, ['hello'], {}]) {
    t.equal(codeOf({ type: 'user_message', payload: { content } }), 'THREADLINE_EMPTY_CONTENT', text(content))
    t.equal(codeOf({ type: 'start_agent', payload: { agent: 'assistant', input: content } }), 'THREADLINE_EMPTY_CONTENT', text(content))
  }
  for (const frame of [{ type: 'user_message' }, { type: 'user_message', payload: null }, { type: 'user_message', payload: 'hello' }]) {
    t.equal(codeOf(frame), 'THREADLINE_EMPTY_CONTENT')
  }
})

t.test('what does not match its schema is refused, and the place is named', async (t) => {
  const frames: readonly [Frame, RegExp][] = [
    [message({ content: 'x'.repeat(maxContentCharacters + 1) }), /^payload\/content /],
    [message({ agent: '' }), /^payload\/agent /],
    [message({ agent: 'x'.repeat(65) }), /^payload\/agent /],
    [message({ multitask_strategy: 'hope' }), /^payload\/multitask_strategy /],
    [message({ metadata: [] }), /^payload\/metadata /],
    [message({ metadata: 'x' }), /^payload\/metadata /],
    [message({ metadata: Object.fromEntries(Array.from({ length: 33 }, (_, index) => [`key ${index}`, 1])) }), /^payload\/metadata /],
    [message({ metadata: { ['k'.repeat(65)]: 1 } }), /^payload\/metadata/],
    [message({ surprise: 1 }), /^payload/],
    [message({}, { id: '' }), /^id /],
    [message({}, { id: 7 }), /^id /],
    [message({}, { id: 'x'.repeat(129) }), /^id /],
    [message({}, { traceparent: 'x'.repeat(129) }), /^traceparent /],
    [{ type: 'start_agent', payload: { input: 'hello' } }, /^payload/],
    [{ type: 'rename_thread', payload: { thread_id: threadId, title: ' ' } }, /^payload\/title /],
    [{ type: 'rename_thread', payload: { thread_id: threadId } }, /^payload/],
    [{ type: 'create_thread', payload: { title: 'x'.repeat(201) } }, /^payload\/title /],
    [{ type: 'authenticate', payload: {} }, /^payload/],
    [{ type: 'typing', payload: { is_typing: 'yes' } }, /^payload\/is_typing /],
    [{ type: 'ping', payload: 'now' }, /^payload /],
    [{ type: 'ping', payload: [] }, /^payload /]
  ]

  for (const [frame, place] of frames) {
    const error = refusal(text(frame))
    t.equal(error.code, 'THREADLINE_BAD_REQUEST', error.message)
    t.match(error.message, place)
  }
})

t.test('numbers that are huge, broken or out of range are refused', async (t) => {
  for (const number of ['-1', '0', '101', '1.5', '1e999', '-1e999', '9007199254740993', '1e308', '"10"', 'null', '[10]']) {
    t.equal(refusal(`{"type":"list_threads","payload":{"limit":${number}}}`).code, 'THREADLINE_BAD_REQUEST', number)
  }
  for (const number of ['-1', '1000001', '0.1', '1e999', '1e20']) {
    t.equal(refusal(`{"type":"list_threads","payload":{"offset":${number}}}`).code, 'THREADLINE_BAD_REQUEST', number)
  }
  t.same(decodeCommand('{"type":"list_threads","payload":{"limit":1e2,"offset":-0}}').payload, { limit: 100, offset: 0 })
})

t.test('a prototype can neither be set nor reached', async (t) => {
  const proto = '{"thread_id":"x","user_id":"mallory","polluted":true}'

  const command = decodeCommand(`{"__proto__":${proto},"type":"user_message","payload":{"content":"hello","metadata":{"__proto__":${proto},"constructor":1}}}`)
  t.equal(refusal(`{"type":"user_message","payload":{"content":"hello","__proto__":${proto}}}`).code, 'THREADLINE_BAD_REQUEST')
  t.equal(refusal(`{"type":"switch_thread","payload":{"__proto__":{"thread_id":"${threadId}"}}}`).code, 'THREADLINE_THREAD_REQUIRED')
  t.equal(refusal('{"__proto__":{"type":"ping"}}').code, 'THREADLINE_UNKNOWN_TYPE')

  for (const object of [command, command.payload, 'metadata' in command.payload ? command.payload.metadata ?? {} : {}]) {
    t.equal(Object.getPrototypeOf(object), Object.prototype)
    t.notOk('polluted' in { ...object })
  }
  t.equal(command.thread_id, undefined)
  t.notOk('polluted' in {})
})

// Storage and answers go through metadata recursively: what decodes must not break them.
t.test('deep nesting is refused, and what is not refused can be written again', async (t) => {
  const nested = (levels: number, open: string, close: string): string => open.repeat(levels) + close.repeat(levels)
  const frame = (inside: string): string => `{"type":"user_message","payload":{"content":"hello","metadata":{"a":${inside}}}}`

  for (const levels of [33, 5_000, 100_000]) {
    t.match(refusal(frame(nested(levels, '[', ']'))), { code: 'THREADLINE_BAD_REQUEST', message: /deep/ }, `${levels} lists`)
    t.equal(refusal(frame(`${nested(levels, '{"a":', '}').replace(/:}/, ':1}')}`)).code, 'THREADLINE_BAD_REQUEST', `${levels} objects`)
  }
  t.doesNotThrow(() => JSON.stringify(decodeCommand(frame(nested(30, '[', ']')))))
  t.equal(refusal(`{"type":"ping","payload":${nested(100_000, '[', ']')}}`).code, 'THREADLINE_BAD_REQUEST')
  t.equal(refusal(nested(100_000, '[', ']')).code, 'THREADLINE_BAD_JSON')
  t.equal(refusal(nested(100_000, '[', '')).code, 'THREADLINE_BAD_JSON')
})

t.test('a refusal knows the type and the id of its frame, so that its answer can name them, and cuts both', async (t) => {
  t.strictSame(refusal(text({ type: 'switch_thread', id: 'mine', payload: {} })).cause, { type: 'switch_thread', id: 'mine' })
  t.strictSame(refusal(text({ type: 'ping', id: 7, payload: 1 })).cause, { type: 'ping' })
  t.strictSame(refusal(text({ type: 'x'.repeat(1_000), id: 'y'.repeat(1_000) })).cause, { type: 'x'.repeat(64), id: 'y'.repeat(128) })
})

t.test('whatever the text, it becomes a command of its schema or is refused with a code of ours', async (t) => {
  const anything = fc.jsonValue()
  const ids = fc.oneof(fc.constant(threadId), fc.constantFrom(...Object.values(hostileThreadIds)), anything)
  const payload = fc.record({
    thread_id: ids, run_id: ids, before: ids, content: fc.oneof(anyText(), anything), input: anything, agent: anything, title: anything,
    limit: fc.oneof(fc.double(), anything), metadata: anything, user_id: anything
  }, { requiredKeys: [] })
  const frame = fc.record({
    type: fc.oneof(fc.constantFrom(...commandTypes), fc.constantFrom(...eventTypes), anything),
    id: anything, thread_id: ids, payload: fc.oneof(payload, anything), traceparent: anything
  }, { requiredKeys: [] })

  fc.assert(fc.property(fc.oneof(anyText(), fc.json(), frame.map((value) => JSON.stringify(value))), (sent) => {
    try {
      const command = decodeCommand(sent)
      const named = [command.thread_id, 'thread_id' in command.payload ? command.payload.thread_id : undefined]
      return commandTypes.includes(command.type) && named.every((id) => id === undefined || isThreadId(id))
    } catch (error) {
      return isThreadlineError(error) && errorCodes.includes(error.code) && error.statusCode < 500
    }
  }), { numRuns: 2_000 })
  t.pass()
})
