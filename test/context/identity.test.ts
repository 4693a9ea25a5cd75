import { inspect } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import {
  createChildIdentity, createIdentity, createRunIdentity, fingerprint, maxDepth, scopedKey,
  type Identity
} from '../../lib/context/identity.ts'
import { enterThread, currentRun } from '../../lib/context/current-thread.ts'
import { isRequestId, newConnectionId, newRunId, newThreadId, toUserId } from '../../lib/protocol/ids.ts'
import { newRun } from '../support/identities.ts'

const threadId = newThreadId()
const valid = { userId: toUserId('alice'), threadId, runId: newRunId(threadId) }
const invalid = (field: string) => ({ code: 'THREADLINE_INVALID_CONTEXT', field })

t.test('C25 a context built from a user, a thread and a run has a request id, depth 0 and its time in UTC', async (t) => {
  const before = Date.now()

  const identity = createRunIdentity(valid)

  const createdAt = Date.parse(identity.createdAt)
  t.match(identity, valid)
  t.ok(isRequestId(identity.requestId))
  t.equal(identity.depth, 0)
  t.equal(identity.parentRequestId, undefined)
  t.equal(new Date(createdAt).toISOString(), identity.createdAt)
  t.ok(createdAt >= before && createdAt <= Date.now())
  t.same(identity.data, {})
})

t.test('C26 a run without a well-formed user, thread or run is refused, and the field is named', async (t) => {
  const fields = { userId: 'user_id', threadId: 'thread_id', runId: 'run_id' }
  const malformed = [undefined, null, '', ' ', '\t\n', '\u0000', 'a\u0000b', ' alice', '\ud800', 'x'.repeat(129), 7, 0n, NaN, true, [], ['a'], {}, Symbol('a')]

  for (const [key, field] of Object.entries(fields)) {
    for (const value of malformed) {
      t.throws(() => createRunIdentity({ ...valid, [key]: value }), invalid(field), `${field} as ${inspect(value)}`)
    }
  }
})

t.test('C26 what is present in an identity without a run must be well-formed too', async (t) => {
  const fields = { userId: 'user_id', threadId: 'thread_id', runId: 'run_id', requestId: 'request_id', connectionId: 'connection_id' }

  for (const [key, field] of Object.entries(fields)) {
    for (const value of [null, '', ' ', 7, {}]) {
      t.throws(() => createIdentity({ ...valid, [key]: value as never }), invalid(field), `${field} as ${inspect(value)}`)
    }
  }
  t.match(createIdentity({ userId: valid.userId }), { userId: 'alice', depth: 0 })
  t.equal(createIdentity({ userId: valid.userId }).threadId, undefined)
})

t.test('C26 a run of another thread is refused', async (t) => {
  t.throws(() => createRunIdentity({ ...valid, threadId: newThreadId() }), invalid('run_id'))
  t.throws(() => createIdentity({ userId: valid.userId, runId: valid.runId }), invalid('run_id'))
})

t.test('C30 data with a reserved key is refused, in a context and in its child', async (t) => {
  const parent = createRunIdentity(valid)

  for (const key of ['user_id', 'thread_id', 'run_id', 'request_id', 'connection_id']) {
    for (const value of ['mallory', null, undefined]) {
      t.throws(() => createRunIdentity({ ...valid, data: { [key]: value } }), invalid(key))
      t.throws(() => createChildIdentity(parent, 'search', { [key]: value }), invalid(key))
    }
  }
  t.same(createRunIdentity({ ...valid, data: { user_name: 'Alice' } }).data, { user_name: 'Alice' })
})

t.test('C31 a context does not change with the input that it was built from', async (t) => {
  const data = { locale: 'de', tags: ['a'], deep: { inside: { list: [{ n: 1 }] } } }
  const input = { ...valid, data }
  const identity = createRunIdentity(input)

  input.userId = toUserId('mallory')
  data.locale = 'en'
  data.tags.push('b')
  data.deep.inside.list.push({ n: 2 })
  Object.assign(data.deep.inside.list[0] ?? {}, { n: 3 })
  Object.assign(data, { user_id: 'mallory' })

  t.equal(identity.userId, 'alice')
  t.same(identity.data, { locale: 'de', tags: ['a'], deep: { inside: { list: [{ n: 1 }] } } })
})

t.test('C32 no field of a context can be assigned, added or deleted, at any depth', async (t) => {
  const identity = createRunIdentity({ ...valid, connectionId: newConnectionId(), data: { deep: { list: [{ n: 1 }] } } })
  const copy = structuredClone(identity)

  for (const key of [...Object.keys(identity), 'added']) {
    t.throws(() => { Object.assign(identity, { [key]: 'changed' }) }, TypeError, key)
    t.equal(Reflect.deleteProperty(identity, key), key === 'added', key)
  }
  const { list } = identity.data['deep'] as { list: { n: number }[] }
  t.throws(() => { Object.assign(identity.data, { added: 1 }) }, TypeError)
  t.throws(() => { list.push({ n: 2 }) }, TypeError)
  t.throws(() => { Object.assign(list[0] ?? {}, { n: 2 }) }, TypeError)
  t.strictSame(structuredClone(identity), copy)
})

// A frozen Map, Set, Date or byte array can still be changed, so none of them may be in a context.
t.test('C32 data that cannot be copied or frozen is refused', async (t) => {
  const values = [
    new Map([['a', 1]]), new Set([1]), new Date(), new Uint8Array(2), Buffer.from('a'), /a/, new ArrayBuffer(2), new Error('a'),
    () => 1, Symbol('a'), Promise.resolve()
  ]

  for (const value of values) {
    t.throws(() => createRunIdentity({ ...valid, data: { value } }), invalid('data'), Object.prototype.toString.call(value))
    t.throws(() => createRunIdentity({ ...valid, data: { list: [{ value }] } }), invalid('data'))
  }
  let nested: unknown[] = []
  for (let level = 0; level < 100_000; level += 1) nested = [nested]
  t.throws(() => createRunIdentity({ ...valid, data: { nested } }), invalid('data'), 'too deep to be copied')
})

t.test('C31, C32 whatever JSON it is built from, its data is an equal copy that is frozen throughout', async (t) => {
  fc.assert(fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (data) => {
    fc.pre(!Object.keys(data).some((key) => key.endsWith('_id')))
    const identity = createRunIdentity({ ...valid, data })
    return isDeepFrozen(identity) && JSON.stringify(identity.data) === JSON.stringify(data) && identity.data !== data
  }))
  t.pass()
})

t.test('C33 a child keeps user, thread, run and connection, has a request of its own and knows its parent', async (t) => {
  const parent = createRunIdentity({ ...valid, connectionId: newConnectionId(), data: { locale: 'de' } })

  const child = createChildIdentity(parent, 'search')

  t.match(child, { userId: parent.userId, threadId: parent.threadId, runId: parent.runId, connectionId: parent.connectionId })
  t.match(child, { depth: 1, parentRequestId: parent.requestId, operation: 'search', data: { locale: 'de' } })
  t.ok(isRequestId(child.requestId))
  t.not(child.requestId, parent.requestId)
  t.ok(isDeepFrozen(child))
})

t.test('C34 children go ten deep, each with a request of its own, and the eleventh is refused', async (t) => {
  const line: Identity[] = [createRunIdentity(valid)]
  for (let depth = 1; depth <= 10; depth += 1) line.push(createChildIdentity(line.at(-1) ?? createRunIdentity(valid), `level ${depth}`))
  const deepest = line.at(-1) ?? createRunIdentity(valid)

  t.equal(maxDepth, 10)
  t.same(line.map(({ depth }) => depth), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
  t.equal(new Set(line.map(({ requestId }) => requestId)).size, 11)
  t.same(line.slice(1).map(({ parentRequestId }) => parentRequestId), line.slice(0, -1).map(({ requestId }) => requestId))
  t.ok(line.every(({ userId, threadId, runId }) => userId === valid.userId && threadId === valid.threadId && runId === valid.runId))
  t.throws(() => createChildIdentity(deepest, 'too deep'), { code: 'THREADLINE_CONTEXT_TOO_DEEP' })
})

t.test('C34 a child without a name for what it does is refused', async (t) => {
  for (const operation of ['', ' ', '\t\n', undefined, null, 7]) {
    t.throws(() => createChildIdentity(createRunIdentity(valid), operation as string), invalid('operation'), String(operation))
  }
})

// kill: a child's data is its parent's, with what was added.
t.test('C35 neither the parent nor a sibling sees what is added to a child', async (t) => {
  const parent = createRunIdentity({ ...valid, data: { locale: 'de' } })
  const found = { hits: ['a'] }

  const filled = createChildIdentity(parent, 'search', { found })
  const sibling = createChildIdentity(parent, 'search', { locale: 'en' })
  found.hits.push('b')

  t.same(parent.data, { locale: 'de' })
  t.same(filled.data, { locale: 'de', found: { hits: ['a'] } })
  t.same(sibling.data, { locale: 'en' })
  t.same(createChildIdentity(filled, 'again').data, filled.data)
})

// kill: scopedKey and fingerprint leave out the request.
t.test('C36 two contexts of one user in one thread differ in request id, fingerprint and scoped keys', async (t) => {
  const [one, other] = [createRunIdentity(valid), createRunIdentity(valid)]

  t.not(one.requestId, other.requestId)
  t.not(fingerprint(one), fingerprint(other))
  t.not(scopedKey(one, 'cache'), scopedKey(other, 'cache'))
  t.not(scopedKey(one, 'cache'), scopedKey(one, 'search'))
  t.equal(scopedKey(one, 'cache'), scopedKey(one, 'cache'))
  t.equal(fingerprint(one), fingerprint(createRunIdentity({ ...valid, requestId: one.requestId })))
})

t.test('C36 no choice of user and component makes the scoped keys of two requests equal', async (t) => {
  const text = fc.string({ minLength: 1, maxLength: 8, unit: fc.constantFrom('a', '/', '%', '-', '2F') })
  const { requestId } = createRunIdentity(valid)

  fc.assert(fc.property(text, text, text, text, (user, component, otherUser, otherComponent) => {
    const key = scopedKey(createIdentity({ userId: toUserId(user), requestId }), component)
    const other = scopedKey(createIdentity({ userId: toUserId(otherUser), requestId }), otherComponent)
    return (key === other) === (user === otherUser && component === otherComponent)
  }))
  t.pass()
})

// kill: freezeData returns one frozen object for all contexts without data (`const noData = Object.freeze({})`).
t.test('C40 of 100 contexts built at the same time for different users, no two share an id, an object or a fingerprint', async (t) => {
  const gate = Promise.withResolvers<void>()
  const building = Array.from({ length: 100 }, async (_, index) => {
    const given = newRun(`user-${index}`)
    return await enterThread(given, async () => {
      await gate.promise
      const { userId, threadId, runId } = currentRun()
      return createRunIdentity({ userId, threadId, runId, connectionId: newConnectionId(), ...(index % 2 === 0 ? {} : { data: { list: [{}] } }) })
    })
  })
  gate.resolve()
  const built = await Promise.all(building)

  t.same(built.map(({ userId }) => userId), built.map((_, index) => `user-${index}`))
  for (const key of ['userId', 'threadId', 'runId', 'requestId', 'connectionId'] as const) {
    t.equal(new Set(built.map((identity) => identity[key])).size, 100, key)
  }
  t.equal(new Set(built.map(fingerprint)).size, 100)
  t.equal(new Set(built.map((identity) => scopedKey(identity, 'cache'))).size, 100)
  const objects = built.flatMap(objectsOf)
  t.equal(new Set(objects).size, objects.length)
})

function isDeepFrozen (value: unknown): boolean {
  return objectsOf(value).every((object) => Object.isFrozen(object))
}

function objectsOf (value: unknown): readonly object[] {
  if (typeof value !== 'object' || value === null) return []
  return [value, ...Reflect.ownKeys(value).flatMap((key) => objectsOf(Reflect.get(value, key)))]
}
