import t from 'tap'
import type { PayloadOf, ThreadView } from '../../lib/protocol/events.ts'
import { newMessageId, newThreadId, toThreadId } from '../../lib/protocol/ids.ts'
import { hostileThreadIds } from '../support/hostile-ids.ts'
import { httpClient, withoutRequestId, type HttpAnswer } from '../support/http-client.ts'
import { startServer } from '../support/start-server.ts'
import { readThread } from '../support/stored-thread.ts'

// Threads and their messages over HTTP: the same as over a socket, with the user's sockets told of it. Users are named after their case.

const server = await startServer(t, { env: { DEFAULT_AGENT: 'echo' } })
const { storage } = server.app

const threadIn = ({ body }: HttpAnswer): ThreadView => body as ThreadView // compared with the contract by the server under test

t.test('a thread is made, read, changed, put away, deleted and brought back, and the user\'s sockets are told each time', async (t) => {
  const call = await httpClient(server, 'anna')
  const [tab, stranger] = [await server.connect('anna'), await server.connect('ben')]

  const created = await call('POST', '/v1/threads', { title: 'By HTTP', metadata: { colour: 'green' } })
  const { thread_id: id } = threadIn(created)
  const path = `/v1/threads/${id}`
  const read = await call('GET', path)
  const changed = await call('PATCH', path, { title: 'Changed' })
  const archived = await call('POST', `${path}/archive`)
  const lists = { active: await call('GET', '/v1/threads'), archived: await call('GET', '/v1/threads?state=archived') }
  const unarchived = await call('POST', `${path}/restore`)
  const deleted = await call('DELETE', path)
  const gone = await call('GET', path)
  const bin = await call('GET', '/v1/threads?state=deleted')
  const restored = await call('POST', `${path}/restore`)

  t.match(created, { status: 201, body: { title: 'By HTTP', metadata: { colour: 'green' } } })
  t.equal(created.headers.get('location'), path)
  t.match(read, { status: 200, body: { thread: threadIn(created), sequence: 0, epoch: storage.epoch, active_runs: [] } })
  t.match(changed, { status: 200, body: { title: 'Changed', metadata: { colour: 'green' } } })
  t.match(archived, { status: 200, body: { archived_at: String } })
  t.match(lists, { active: { body: { total: 0, threads: [] } }, archived: { body: { total: 1, threads: [{ thread_id: id }] } } })
  t.match(unarchived, { status: 200, body: { archived_at: null } })
  t.match(deleted, { status: 200, body: { thread_id: id } })
  t.match(gone, { status: 404, body: { error: { code: 'THREADLINE_THREAD_NOT_FOUND' } } })
  t.match(bin, { status: 200, body: { threads: [{ thread_id: id, deleted_at: String }] } })
  t.match(restored, { status: 200, body: { deleted_at: null, title: 'Changed' } })
  t.strictSame((await tab.settled()).slice(1, -1).map(({ type, user_id: user, thread_id: thread }) => [type, user, thread]), [
    'thread_created', 'thread_updated', 'thread_updated', 'thread_updated', 'thread_deleted', 'thread_updated'
  ].map((type) => [type, 'anna', null]))
  t.same(tab.ofType('thread_created')[0]?.payload, threadIn(created))
  t.same((await stranger.settled()).map(({ type }) => type), ['connection_established', 'pong'])
})

t.test('each answer has the id of its request, also in the events that others are told', async (t) => {
  const call = await httpClient(server, 'rita')
  const tab = await server.connect('rita')

  const created = await call('POST', '/v1/threads')

  const requestId = created.headers.get('x-request-id')
  t.equal(created.status, 201, 'no body is an empty one')
  t.equal((await tab.until('thread_created')).request_id, requestId)
  t.match(threadIn(created), { title: null, metadata: {} })
})

t.test('threads are listed in pages, and found by what was said in them', async (t) => {
  const call = await httpClient(server, 'carol')
  const ids: string[] = []
  for (const title of ['one', 'two', 'three']) ids.unshift(threadIn(await call('POST', '/v1/threads', { title })).thread_id)
  const socket = await server.connect('carol', { thread: ids[2] })
  await socket.chat('about quinces and medlars')
  const foreign = await httpClient(server, 'dora')

  const first = await call('GET', '/v1/threads?limit=2')
  const { next_cursor: cursor } = first.body as PayloadOf<'thread_list'>
  const second = await call('GET', `/v1/threads?limit=2&cursor=${encodeURIComponent(cursor ?? '')}`)
  const offset = await call('GET', '/v1/threads?limit=1&offset=1')
  const found = await call('GET', '/v1/threads/search?query=quinces')
  const titles = await call('GET', '/v1/threads/search?query=three')

  t.match(first, { status: 200, body: { total: 3, threads: [{ thread_id: ids[2] }, { thread_id: ids[0] }], next_cursor: String } })
  t.match(second, { status: 200, body: { threads: [{ thread_id: ids[1] }], next_cursor: null } })
  t.match(offset, { status: 200, body: { threads: [{ thread_id: ids[0] }], limit: 1, offset: 1 } })
  t.match(found, { status: 200, body: { results: [{ thread: { thread_id: ids[2] }, snippet: /«quinces»/ }] } })
  t.match(titles, { status: 200, body: { results: [{ thread: { thread_id: ids[0] }, message: null }] } })
  t.match(await foreign('GET', '/v1/threads/search?query=quinces'), { status: 200, body: { results: [], next_cursor: null } })
  t.match(await foreign('GET', `/v1/threads?cursor=${encodeURIComponent(cursor ?? '')}`), { status: 200, body: { total: 0, threads: [] } })
})

t.test('messages are read in pages, another branch is shown, and a conversation is forked', async (t) => {
  const call = await httpClient(server, 'edith')
  const thread = await server.thread('edith', 'The first')
  const path = `/v1/threads/${thread}`
  const socket = await server.connect('edith', { thread })
  for (const word of ['one', 'two', 'three']) await socket.chat(word)
  const before = await readThread(storage, 'edith', thread)
  const second = before.messages[2]?.message_id ?? ''
  await socket.chat('two, in other words', { edit_of: second })

  const page = await call('GET', `${path}/messages?limit=2`)
  const selected = await call('POST', `${path}/branch`, { message_id: second })
  const notice = await socket.until('branch_selected')
  const shown = await call('GET', `${path}/messages`)
  const older = await call('GET', `${path}/messages?before=${before.messages[2]?.message_id ?? ''}`)
  const forked = await call('POST', `${path}/fork`, { message_id: before.messages[1]?.message_id, title: 'Another way' })
  const copies = await call('GET', `/v1/threads/${threadIn(forked).thread_id}/messages`)

  t.match(page, { status: 200, body: { has_more: true, messages: [{ content: 'two, in other words', role: 'user' }, { role: 'assistant' }] } })
  t.equal(selected.status, 200)
  t.strictSame((selected.body as PayloadOf<'branch_selected'>).messages.map(({ message_id: id }) => id), before.messages.map(({ message_id: id }) => id))
  t.strictSame(notice.payload, selected.body, 'whoever is in the thread is told the same')
  t.match(notice, { thread_id: thread })
  t.strictSame((shown.body as PayloadOf<'thread_history'>).messages, (selected.body as PayloadOf<'branch_selected'>).messages)
  t.match(older.body, { messages: before.messages.slice(0, 2).map(({ message_id: id }) => ({ message_id: id })), has_more: false })
  t.match(forked, { status: 201, body: { title: 'Another way' } })
  t.match(copies.body, { messages: before.messages.slice(0, 2).map(({ content, role }) => ({ content, role, run_id: null })) })
  t.equal((copies.body as PayloadOf<'thread_history'>).messages.length, 2)
})

// Kill: leave `require` of the named threads out of `identityOfCommand` in lib/gateway/identity-of-command.ts, or let it take deleted ones.
t.test('a thread of another user, a deleted one and an unknown one are told apart nowhere, and nothing happens to them', async (t) => {
  const call = await httpClient(server, 'mallory')
  const [foreign, own, deleted] = [await server.thread('frank', 'Frank\'s'), await server.thread('mallory'), await server.thread('mallory')]
  const owner = await server.connect('frank', { thread: foreign })
  await owner.chat('secret')
  await call('DELETE', `/v1/threads/${deleted}`)
  const before = { frank: await readThread(storage, 'frank', foreign), heard: (await owner.settled()).length }
  const message = before.frank.messages[0]?.message_id

  const operations = (id: string): readonly (readonly [string, string, unknown?])[] => [
    ['GET', `/v1/threads/${id}`], ['PATCH', `/v1/threads/${id}`, { title: 'Mine' }], ['DELETE', `/v1/threads/${id}`],
    ['POST', `/v1/threads/${id}/archive`], ['POST', `/v1/threads/${id}/restore`], ['POST', `/v1/threads/${id}/fork`, {}],
    ['GET', `/v1/threads/${id}/messages`], ['POST', `/v1/threads/${id}/branch`, { message_id: message }],
    ['GET', `/v1/threads/${id}/runs`], ['POST', `/v1/threads/${id}/runs`, { content: 'hello' }], ['POST', `/v1/threads/${id}/runs/regenerate`],
    ['POST', `/v1/threads/${id}/cancel`], ['GET', `/v1/threads/${id}/export`], ['GET', `/v1/threads/${id}/export?format=markdown`]
  ]
  const restores = (path: string): boolean => path.endsWith('/restore') // which a deleted thread is there for
  const answersFor = async (id: string, asked = operations(id)): Promise<readonly string[]> => {
    const answers: string[] = []
    for (const [method, path, body] of asked) answers.push(`${method} ${path.replace(id, '')} ${withoutRequestId(await call(method, path, body))}`)
    return answers
  }
  const refusals = await answersFor(newThreadId())

  for (const refusal of refusals) t.match(refusal, / 404 \{"error":\{"code":"THREADLINE_THREAD_NOT_FOUND","message":"There is no such thread","request_id":""\}\}$/)
  t.strictSame(await answersFor(foreign), refusals)
  const ofDeleted = await answersFor(deleted, operations(deleted).filter(([, path]) => !restores(path)))
  t.strictSame(ofDeleted, refusals.filter((_answer, nth) => !restores(operations(deleted)[nth]?.[1] ?? '')))
  t.strictSame(await readThread(storage, 'frank', foreign), before.frank)
  t.equal((await owner.settled()).length, before.heard + 1)
  t.match(await call('POST', `/v1/threads/${own}/branch`, { message_id: message }), { status: 404, body: { error: { code: 'THREADLINE_NOT_FOUND' } } })
  t.equal(server.violations.length, 0)
})

t.test('E68 a hostile thread id in an address is refused, and so is every body or query that breaks its schema', async (t) => {
  const call = await httpClient(server, 'grace')
  const own = await server.thread('grace')
  const path = `/v1/threads/${own}`

  for (const [name, id] of Object.entries(hostileThreadIds).filter(([, text]) => text.length < 10_000 && text.isWellFormed())) {
    const answer = await call('GET', `/v1/threads/${encodeURIComponent(id)}/messages`)
    t.match(answer, { status: /^40[04]$/, body: { error: { code: /^THREADLINE_(INVALID_THREAD_ID|NOT_FOUND|BAD_REQUEST)$/ } } }, name)
  }
  const nested = JSON.parse(`${'{"a":'.repeat(40)}1${'}'.repeat(40)}`) as object
  for (const [method, where, body] of [
    ['POST', '/v1/threads', { title: ' ' }], ['POST', '/v1/threads', { title: 'x'.repeat(201) }], ['POST', '/v1/threads', { titel: 'x' }],
    ['POST', '/v1/threads', []], ['POST', '/v1/threads', { metadata: { a: nested } }], ['POST', '/v1/threads', { title: 7 }],
    ['POST', '/v1/threads', { title: 'x', user_id: 'frank' }], ['PATCH', path, { thread_id: newThreadId() }], ['PATCH', path, { title: null }],
    ['GET', '/v1/threads?limit=0'], ['GET', '/v1/threads?limit=101'], ['GET', '/v1/threads?limit=many'], ['GET', '/v1/threads?state=all'],
    ['GET', '/v1/threads?cursor=forged'], ['GET', '/v1/threads?limit=1&limit=2'], ['GET', '/v1/threads/search'], ['GET', '/v1/threads/search?query=%20'],
    ['GET', `${path}/messages?before=x`], ['POST', `${path}/branch`, {}], ['POST', `${path}/branch`, { message_id: 'x' }],
    ['POST', `${path}/fork`, { message_id: 1 }], ['GET', `${path}/export?format=pdf`], ['POST', '/v1/threads', 'text']
  ] as const) {
    const answer = await call(method, where, body)
    t.match(answer, { status: 400, body: { error: { code: 'THREADLINE_BAD_REQUEST', request_id: answer.headers.get('x-request-id') } } }, `${method} ${where} ${JSON.stringify(body)}`)
  }
  t.match(await call('POST', '/v1/threads', { title: 'x', metadata: { a: 'x'.repeat(70_000) } }), { status: 413, body: { error: { code: 'THREADLINE_BODY_TOO_LARGE' } } })
  t.match(await call('GET', '/v1/threads'), { status: 200, body: { total: 1 } })
  t.match(await call('GET', `${path}/messages?before=${newMessageId()}`), { status: 404, body: { error: { code: 'THREADLINE_NOT_FOUND' } } })
})

t.test('a body that is no JSON is refused as such, and nobody is served without a token', async (t) => {
  const token = await server.token('heidi')
  const post = async (headers: Record<string, string>, body: string) => {
    const response = await fetch(`${server.url}/v1/threads`, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body })
    return { status: response.status, body: await response.json() }
  }

  for (const body of ['{', 'title', '{"title":"a"}}', '{"__proto__":{"title":"a"}}']) {
    t.match(await post({ authorization: `Bearer ${token}` }, body), { status: 400, body: { error: { code: 'THREADLINE_BAD_REQUEST' } } }, body)
  }
  t.match(await post({}, '{}'), { status: 401, body: { error: { code: 'THREADLINE_UNAUTHENTICATED' } } })
})

t.test('what is asked for over HTTP counts as a message of the user, and one too many is told to wait', async (t) => {
  const limited = await startServer(t, { env: { MESSAGES_PER_WINDOW: 3, MESSAGE_WINDOW_MS: 600_000 } })
  const [call, other] = [await httpClient(limited, 'ivan'), await httpClient(limited, 'judy')]
  const socket = await limited.connect('ivan')

  await socket.ask({ type: 'ping', payload: {} })
  const answers = [await call('GET', '/v1/threads'), await call('POST', '/v1/tickets'), await call('POST', '/v1/threads')]
  const refusedElsewhere = await Promise.all([['POST', '/v1/tickets'], ['GET', '/v1/me'], ['DELETE', '/v1/me'], ['GET', `/v1/threads/${newThreadId()}/export`]].map(
    async ([method = '', path = '']) => await call(method, path)
  ))

  t.same(answers.map(({ status }) => status), [200, 201, 429])
  t.match(answers[2]?.body, { error: { code: 'THREADLINE_RATE_LIMITED' } })
  t.same(refusedElsewhere.map(({ status }) => status), [429, 429, 429, 429])
  t.match(await socket.ask({ type: 'ping', payload: {} }), { type: 'error', payload: { code: 'THREADLINE_RATE_LIMITED' } }, 'it is one window for all of them')
  t.equal((await other('GET', '/v1/threads')).status, 200, 'and each user has an own')
})

t.test('a deleted thread is left by its sockets, also when it was deleted over HTTP', async (t) => {
  const call = await httpClient(server, 'kim')
  const thread = await server.thread('kim')
  const socket = await server.connect('kim', { thread })

  await call('DELETE', `/v1/threads/${thread}`)
  await socket.until('thread_deleted')
  const next = await socket.ask({ type: 'user_message', payload: { content: 'a new start' } })

  t.match(next, { type: 'message_accepted' })
  t.not(next.thread_id, thread)
  t.equal((await socket.until('thread_created')).payload.thread_id, toThreadId(next.thread_id))
})
