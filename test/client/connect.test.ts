import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { startScriptedServer, uuid } from '../support/scripted-server.ts'
import { startClient, startConnected } from '../support/threadline-client.ts'
import { connectThreadline } from '../../client/connect.ts'
import { threadView } from '../support/views.ts'
import type { PayloadOf, ThreadView } from '../../lib/protocol/events.ts'

const first = uuid(1)
const second = uuid(2)
const view = (threadId: string, title: string | null = null): ThreadView => threadView(threadId, { title })
/** Starts no closing handshake, as if the other side never answered it. */
class DeafSocket extends WebSocket {
  override close (): void {}
}

const accepted = { message_id: uuid(90), run_id: `run_${first}_${uuid(91)}`, duplicate: false }
const switched = (threadId: string): PayloadOf<'thread_switched'> =>
  ({ thread: view(threadId), messages: [], has_more: false, sequence: 0, epoch: 'first', active_runs: [] })

t.test('the client', async (t) => {
  const server = await startScriptedServer(t)

  const connected = (t: Test, given?: Parameters<typeof startConnected>[2]): ReturnType<typeof startConnected> => startConnected(t, server, given)

  t.test('offers its token as a subprotocol beside the one that it wants, and names its thread', async (t) => {
    const { client, connection } = await connected(t, { threadId: first })

    t.same(connection.offered, ['threadline.v1', 'bearer.token'])
    t.equal(connection.threadId, first)
    t.equal(client.threadId, first)
    t.equal(client.userId, 'alice')
    t.match(client.connectionId, /^connection-/)
  })

  t.test('works with the WebSocket that the platform has', async (t) => {
    const { client, connection } = await connected(t, { WebSocket: globalThis.WebSocket })

    const answer = client.send({ type: 'ping', payload: {} })
    connection.send('pong', {}, { reply_to: (await connection.command()).id })

    t.equal((await answer).type, 'pong')
    await client.close()
    t.equal((await connection.closed).code, 1000)
  })

  t.test('is not ready before the server says so', async (t) => {
    const { client, status } = startClient(t, { url: server.url })
    const connection = await server.connection()
    const answer = client.send({ type: 'list_threads', payload: {} })

    t.equal(connection.unread.length, 0)
    connection.establish(null)
    await status('ready')
    const { id } = await connection.command()
    connection.send('thread_list', { threads: [], total: 0, limit: 20, offset: 0, next_cursor: null }, { reply_to: id })

    t.same((await answer).payload.threads, [])
  })

  t.test('gives each answer to the command that it replies to, in whatever order they come', async (t) => {
    const { client, connection } = await connected(t)
    const one = client.send({ type: 'create_thread', payload: { title: 'one' } })
    const two = client.send({ type: 'create_thread', payload: { title: 'two' } })
    const commands = [await connection.command(), await connection.command()]

    connection.send('thread_created', view(second, 'two'), { reply_to: commands[1]?.id })
    connection.send('thread_created', view(first, 'one'), { reply_to: commands[0]?.id })

    t.equal((await one).payload.title, 'one')
    t.equal((await two).payload.title, 'two')
  })

  t.test('does not take an event for the answer because it came of the same command', async (t) => {
    const { client, connection } = await connected(t)
    const answer = client.send({ type: 'user_message', payload: { content: 'hello' } })
    const { id } = await connection.command()

    connection.send('thread_created', view(first), { reply_to: id })
    connection.send('message_accepted', accepted, { reply_to: id })

    t.equal((await answer).type, 'message_accepted')
    t.match(id, /^[0-9a-f-]{36}$/, 'a message gets an id by itself')
  })

  t.test('rejects with the error that the server answers', async (t) => {
    const { client, connection, events } = await connected(t)
    const answer = client.send({ type: 'switch_thread', id: 'mine', payload: { thread_id: second } })
    const { id } = await connection.command()

    connection.send('error', { code: 'THREADLINE_THREAD_NOT_FOUND', message: 'There is no such thread', retryable: false }, { reply_to: id })

    await t.rejects(answer, { name: 'ThreadlineClientError', code: 'THREADLINE_THREAD_NOT_FOUND', message: 'There is no such thread', retryable: false })
    t.equal(id, 'mine')
    t.equal(events.at(-1)?.type, 'error', 'told as an event too')
  })

  t.test('does not wait for an answer longer than its time limit, and forgets the command then', async (t) => {
    const { client, connection, clock } = await connected(t, { sendTimeoutMs: 1_000 })
    const answer = client.send({ type: 'ping', id: 'late', payload: {} })
    const longer = client.send({ type: 'ping', payload: {} }, { timeoutMs: 2_000 })
    const timers = clock.scheduled

    clock.advance(1_000)
    await t.rejects(answer, { code: 'CLIENT_TIMED_OUT', retryable: true })
    t.equal(clock.scheduled, timers - 1)
    connection.send('pong', {}, { reply_to: 'late' })
    clock.advance(1_000)

    await t.rejects(longer, { code: 'CLIENT_TIMED_OUT' })
  })

  t.test('takes a signal for a command', async (t) => {
    const { client } = await connected(t)
    const controller = new AbortController()
    const answer = client.send({ type: 'ping', payload: {} }, { signal: controller.signal })

    controller.abort()

    await t.rejects(answer, { code: 'CLIENT_ABORTED' })
    await t.rejects(client.send({ type: 'ping', payload: {} }, { signal: controller.signal }), { code: 'CLIENT_ABORTED' })
  })

  t.test('refuses more commands than it may hold, and the id of one that it holds', async (t) => {
    const { client } = await connected(t, { maxPending: 2 })
    const held = [client.send({ type: 'ping', id: 'a', payload: {} }), client.send({ type: 'ping', id: 'b', payload: {} })]
    const outcomes = Promise.allSettled(held)

    await t.rejects(client.send({ type: 'ping', id: 'a', payload: {} }), { code: 'CLIENT_DUPLICATE_ID' })
    await t.rejects(client.send({ type: 'ping', id: 'c', payload: {} }), { code: 'CLIENT_BUFFER_FULL', retryable: true })
    await client.close()

    t.same((await outcomes).map(({ status }) => status), ['rejected', 'rejected'])
  })

  t.test('knows the thread that it was switched to, was put into, and lost', async (t) => {
    const { client, connection } = await connected(t)
    const answered = async (answer: Promise<unknown>, reply: (id: string | undefined) => void): Promise<string | null> => {
      reply((await connection.command()).id)
      await answer
      return client.threadId
    }

    const created = answered(client.send({ type: 'create_thread', payload: {} }), (id) => { connection.send('thread_created', view(second), { reply_to: id }) })
    t.equal(await created, null, 'made, not entered')

    const opened = answered(client.send({ type: 'user_message', payload: { content: 'hello' } }), (id) => {
      connection.send('thread_created', view(first), { reply_to: id })
      connection.send('thread_created', view(uuid(3)))
      connection.send('message_accepted', accepted, { reply_to: id })
    })
    t.equal(await opened, first, 'entered by a message; a thread of another tab is not this one')

    const gone = answered(client.send({ type: 'switch_thread', payload: { thread_id: second } }), (id) => { connection.send('thread_switched', switched(second), { reply_to: id }) })
    t.equal(await gone, second)

    const other = answered(client.send({ type: 'delete_thread', payload: { thread_id: first } }), (id) => { connection.send('thread_deleted', { thread_id: first }, { reply_to: id }) })
    t.equal(await other, second)

    const own = answered(client.send({ type: 'delete_thread', payload: { thread_id: second } }), (id) => { connection.send('thread_deleted', { thread_id: second }, { reply_to: id }) })
    t.equal(await own, null)
  })

  t.test('names the thread of a message that is written while a switch is on its way', async (t) => {
    const { client, connection } = await connected(t, { threadId: first })
    const outcomes = Promise.allSettled([
      client.send({ type: 'user_message', payload: { content: 'in the first' } }),
      client.send({ type: 'switch_thread', payload: { thread_id: second } }),
      client.send({ type: 'user_message', payload: { content: 'in the second' } })
    ])

    t.equal((await connection.command()).thread_id, undefined)
    await connection.command('switch_thread')
    t.equal((await connection.command()).thread_id, second)
    await client.close()
    await outcomes
  })

  t.test('tells each event of a thread once', async (t) => {
    const { client, connection, events } = await connected(t, { threadId: first })
    const reader = client.events()
    const thinking = { message: '…', step: 0 }

    for (const sequence of [1, 2, 1, 2, 3]) connection.send('agent_thinking', thinking, { sequence })
    connection.send('agent_thinking', thinking, { sequence: 3, thread_id: second })
    connection.send('agent_thinking', thinking, { sequence: 1, epoch: 'second' })

    const told = [await reader.next(), await reader.next(), await reader.next(), await reader.next(), await reader.next()]
    t.same(told.map(({ value }) => [value?.thread_id, value?.sequence]), [[first, 1], [first, 2], [first, 3], [second, 3], [first, 1]])
    t.equal(events.length, 6, 'and connection_established')
  })

  t.test('passes on an event that it does not know', async (t) => {
    const { client, connection } = await connected(t)
    const reader = client.events()

    connection.sendText(JSON.stringify({ type: 'from_the_future', payload: {} }))

    t.match(await reader.next(), { value: { type: 'from_the_future' } })
  })

  for (const [title, text] of [['text that is not JSON', 'hello'], ['something else than an event', '[]'], ['an event without payload', '{"type":"pong"}']] as const) {
    t.test(`stops when the server sends ${title}`, async (t) => {
      const { client, connection, status } = await connected(t)

      connection.sendText(text)

      t.match(await status('closed'), { error: { code: 'CLIENT_BAD_FRAME' } })
      await t.rejects(client.send({ type: 'ping', payload: {} }), { code: 'CLIENT_BAD_FRAME' })
    })
  }

  t.test('closes: what waits is rejected, readers end, and no timer is left', async (t) => {
    const { client, connection, clock, status } = await connected(t)
    const reader = client.events()
    const answer = t.rejects(client.send({ type: 'ping', payload: {} }), { code: 'CLIENT_CLOSED', retryable: false })

    await client.close()

    await answer
    t.same(await reader.next(), { done: true, value: undefined })
    t.equal((await connection.closed).code, 1000)
    t.same(await status('closed'), { state: 'closed' })
    t.equal(clock.scheduled, 0)
    await t.rejects(client.send({ type: 'ping', payload: {} }), { code: 'CLIENT_CLOSED' })
    await client.close()
  })

  t.test('closes on its signal, before and after it is connected', async (t) => {
    const controller = new AbortController()
    const { client, connection } = await connected(t, { signal: controller.signal })
    const reader = client.events()

    controller.abort()
    await connection.closed

    await t.rejects(reader.next(), { code: 'CLIENT_ABORTED' })
    const { client: late, clock } = startClient(t, { url: server.url, signal: controller.signal })
    await t.rejects(late.ready, { code: 'CLIENT_ABORTED' })
    t.equal(clock.scheduled, 0)
  })

  t.test('does not wait for ever for a server that does not close', async (t) => {
    const { client, clock } = await connected(t, { WebSocket: DeafSocket })

    const closed = client.close()
    clock.advance(2_000)

    await closed
  })

  t.test('throws at once for an address that is none', async (t) => {
    t.throws(() => connectThreadline({ url: 'not an address', token: 'token' }), TypeError)
    t.throws(() => connectThreadline({ url: 'ftp://127.0.0.1', token: 'token' }), TypeError)
  })

  t.test('stops on a token that no subprotocol can carry, and does not repeat it', async (t) => {
    const { client } = startClient(t, { url: server.url, getToken: () => Promise.resolve('white space') })

    const error = await client.ready.catch((error: unknown) => error)

    t.match(error, { code: 'CLIENT_BAD_TOKEN' })
    t.notMatch(String(error), /white space/)
  })

  t.test('does not let a callback that throws break it, nor hide what it threw', async (t) => {
    const thrown = new Promise<unknown>((resolve) => { process.once('uncaughtException', resolve) })
    const { client, connection } = await connected(t, { onStatus ({ state }) { if (state === 'ready') throw new Error('mine') } })

    const answer = client.send({ type: 'ping', payload: {} })
    connection.send('pong', {}, { reply_to: (await connection.command()).id })

    t.match(await thrown, { message: 'mine' })
    t.equal((await answer).type, 'pong')
  })
})
