import fc from 'fast-check'
import t from 'tap'
import { NIL, validate } from 'uuid'
import {
  connectionIdPattern, isConnectionId, isMessageId, isRequestId, isRunId, isThreadId, isUserId, newConnectionId, newEventId,
  newMessageId, newRequestId, newRunId, newThreadId, runIdPattern, threadOfRun, toConnectionId, toRunId, toThreadId, toUserId, uuidPattern
} from '../../lib/protocol/ids.ts'
import { anyText } from '../support/arbitraries.ts'
import { hostileThreadIds } from '../support/hostile-ids.ts'

const notText: readonly unknown[] = [undefined, null, 7, 7n, true, Symbol('a'), {}, [], [newThreadId()], { toString: () => newThreadId() }, new String(newThreadId())]
const threadId = newThreadId()
const runId = newRunId(threadId)

/** Text as the name of an assertion, in plain characters. */
const shown = (text: string): string => text.replaceAll(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)

/** Text that is an id but for a few characters: replaced, added or removed. */
const damaged = (id: string): fc.Arbitrary<string> =>
  fc.tuple(fc.nat(id.length), fc.nat(2), anyText(2)).map(([at, removed, added]) => id.slice(0, at) + added + id.slice(at + removed))

t.test('E68 hostile text is neither a thread id nor any other id of ours', async (t) => {
  for (const [name, text] of Object.entries(hostileThreadIds)) {
    t.notOk(isThreadId(text), name)
    t.notOk(isMessageId(text) || isRequestId(text), name)
    if (name !== 'a run id') t.notOk(isRunId(text), name)
    t.notOk(isRunId(`run_${text}_${threadId}`) || isRunId(`run_${threadId}_${text}`), name)
    t.throws(() => toThreadId(text), { code: 'THREADLINE_INVALID_THREAD_ID' }, name)
  }
})

t.test('what is not text is no id', async (t) => {
  for (const value of notText) {
    for (const is of [isThreadId, isRunId, isUserId, isConnectionId, isRequestId, isMessageId]) t.notOk(is(value))
  }
})

t.test('a thread id is a UUID in lower case and nothing else, whatever the text', async (t) => {
  const expected = (text: string): boolean => validate(text) && text === text.toLowerCase() && text !== NIL && !text.startsWith('ffffffff-ffff')

  fc.assert(fc.property(fc.oneof(anyText(), damaged(threadId), fc.uuid()), (text) => isThreadId(text) === expected(text)))
  t.pass()
})

t.test('I119 a run id is made of the word run, its thread once, and an id of its own', async (t) => {
  t.ok(isRunId(runId))
  t.ok(isThreadId(threadOfRun(runId)))
  t.equal(threadOfRun(runId), threadId)
  t.equal(runId.split(threadId).length, 2, 'the thread once')
  t.equal(runId.match(/run_/g)?.length, 1, 'the prefix once')
  t.not(newRunId(threadId), newRunId(threadId))
  t.notOk(isRunId(threadId))
  t.notOk(isThreadId(runId))
  t.notOk(isRunId(`run_${runId}`))
})

t.test('B22 blank text and text that is nearly a run id is no run id', async (t) => {
  for (const text of ['', ' ', '\t\n', 'run_', 'run__', `run_${threadId}`, `run_${threadId}_`, `${runId} `, `${runId}\n`, runId.toUpperCase(), runId.replace('run_', 'RUN_')]) {
    t.notOk(isRunId(text), shown(text))
    t.throws(() => toRunId(text), { code: 'THREADLINE_INVALID_RUN_ID' })
  }
  fc.assert(fc.property(fc.oneof(anyText(), damaged(runId)), (text) => {
    const [word, thread, own, ...more] = text.split('_')
    return isRunId(text) === (word === 'run' && isThreadId(thread) && isThreadId(own) && more.length === 0)
  }))
})

t.test('A3 a user id is 1 to 128 visible characters', async (t) => {
  const good = ['a', 'alice', 'auth0|5f7c8ec7c33c6c004bbafe82', 'alice@example.com', 'Ålice Ødegård', '李雷', '👩', 'a'.repeat(128), '../../etc/passwd', "o'brien"]
  const bad = ['', ' ', ' alice', 'alice ', 'alice\n', '\talice', 'a\u0000b', 'a\nb', 'a\u007fb', 'a\u0085b', 'a\u2028b', 'a\u200bb', '\u202ealice', 'alice\ufeff', '\u200b', '\ud800', 'a'.repeat(129)]

  for (const text of good) t.ok(isUserId(text), text)
  for (const text of bad) {
    t.notOk(isUserId(text), shown(text))
    t.throws(() => toUserId(text), { code: 'THREADLINE_INVALID_CONTEXT', field: 'user_id' })
  }
})

t.test('A3 a user id never holds what cannot be seen, stored or sent, whatever the text', async (t) => {
  fc.assert(fc.property(fc.oneof(anyText(), anyText(3).map((text) => `alice${text}`), anyText(200)), (text) => {
    if (!isUserId(text)) return true
    return text.length >= 1 && text.length <= 128 && text === text.trim() && text.isWellFormed() && !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(text)
  }))
  t.pass()
})

t.test('A3 a connection id is 1 to 128 of the plain characters', async (t) => {
  for (const text of ['a', 'tab-1', 'node.1:2_3', 'A'.repeat(128), newConnectionId()]) t.ok(isConnectionId(text), text)
  for (const text of ['', ' ', 'a b', 'a\n', 'a/b', '../a', 'ä', 'a\u0000', 'A'.repeat(129)]) {
    t.notOk(isConnectionId(text), shown(text))
    t.throws(() => toConnectionId(text), { code: 'THREADLINE_INVALID_CONTEXT', field: 'connection_id' })
  }
})

t.test('what is generated is well-formed, different each time, and of version 7', async (t) => {
  const makers: Readonly<Record<string, () => string>> = { newThreadId, newRequestId, newConnectionId, newMessageId, newEventId }

  for (const [name, make] of Object.entries(makers)) {
    const ids = Array.from({ length: 1_000 }, () => make())
    t.equal(new Set(ids).size, 1_000, name)
    t.ok(ids.every((id) => isThreadId(id) && isConnectionId(id) && id[14] === '7'), name)
    t.same(ids, ids.toSorted(), `${name}: in the order of their making`)
  }
})

t.test('the patterns, which stand in the schemas, say the same as the predicates, also with the flag that JSON Schema asks for', async (t) => {
  const patterns = [[uuidPattern, isThreadId], [runIdPattern, isRunId], [connectionIdPattern, isConnectionId]] as const

  for (const [pattern, is] of patterns) {
    const expression = new RegExp(pattern, 'u')
    fc.assert(fc.property(fc.oneof(anyText(), damaged(threadId), damaged(runId)), (text) => expression.test(text) === is(text)))
  }
  t.pass()
})
