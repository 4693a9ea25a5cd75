import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { ThreadlineClientError } from '../../client/client-error.ts'
import { startScriptedServer, uuid } from '../support/scripted-server.ts'
import { threadView } from '../support/views.ts'
import { startClient, startConnected } from '../support/threadline-client.ts'

const first = uuid(1)
const second = uuid(2)
const hello = { type: 'user_message', payload: { content: 'hello' } } as const
const accepted = (duplicate: boolean): { message_id: string, run_id: string, duplicate: boolean } =>
  ({ message_id: uuid(90), run_id: `run_${first}_${uuid(91)}`, duplicate })

t.test('after a drop the client', async (t) => {
  const server = await startScriptedServer(t)
  const connected = (t: Test, given?: Parameters<typeof startConnected>[2]): ReturnType<typeof startConnected> => startConnected(t, server, given)

  t.test('A15 is in the thread of the old connection again', async (t) => {
    const { client, connection, clock, status, events } = await connected(t, { threadId: first })
    const switching = client.send({ type: 'switch_thread', payload: { thread_id: second } })
    connection.send('thread_switched', {
      thread: threadView(second), messages: [], has_more: false, sequence: 7, epoch: 'first', active_runs: []
    }, { reply_to: (await connection.command()).id })
    await switching

    connection.drop()
    const reconnecting = await status('reconnecting')
    t.match(reconnecting, { closeCode: 1006, attempt: 1 })
    await status('ready')
    clock.advance(reconnecting.delayMs)
    const next = await server.connection()
    t.same(next.position, { after: '7', epoch: 'first' })
    next.establish(next.threadId, { sequence: 9 })

    t.match(await status('ready'), { threadId: second, reconnected: true, missed: 2 })
    t.equal(client.threadId, second)
    t.equal(events.filter(({ type }) => type === 'connection_established').length, 2)
  })

  t.test('G97 waits longer each time, up to a maximum, though each attempt succeeds for a moment', async (t) => {
    const { connection, clock, status } = await connected(t, { reconnect: { baseMs: 100, maxMs: 1_000 } })
    const delaysMs: number[] = []

    for (let current = connection; delaysMs.length < 6; current = await server.connection()) {
      if (current !== connection) current.establish(null)
      await status('ready')
      current.drop()
      const { delayMs } = await status('reconnecting')
      delaysMs.push(delayMs + 1)
      clock.advance(delayMs)
    }

    t.same(delaysMs, [100, 200, 400, 800, 1_000, 1_000])
  })

  t.test('does not come back before its delay is over', async (t) => {
    const { connection, clock, status, statuses } = await connected(t, { reconnect: { baseMs: 100 } })
    connection.drop()
    await status('reconnecting')

    clock.advance(98)
    t.equal(statuses.at(-1)?.state, 'reconnecting')
    clock.advance(1)
    t.equal(statuses.at(-1)?.state, 'connecting')
  })

  t.test('counts anew once a connection was stable', async (t) => {
    const { connection, clock, status } = await connected(t, { reconnect: { baseMs: 100, stableMs: 5_000 } })
    connection.drop()
    clock.advance((await status('reconnecting')).delayMs)
    const unstable = await server.connection()
    unstable.establish(null)
    await status('ready')
    await status('ready')
    clock.advance(4_999)
    unstable.drop()
    const { delayMs } = await status('reconnecting')
    t.equal(delayMs, 199)
    clock.advance(delayMs)
    const stable = await server.connection()
    stable.establish(null)
    await status('ready')

    clock.advance(5_000)
    stable.drop()

    t.equal((await status('reconnecting')).delayMs, 99)
  })

  for (const code of [1000, 1001, 4500, 4503, 4508]) {
    t.test(`comes back when it was closed with ${code}`, async (t) => {
      const { connection, clock, status } = await connected(t)

      connection.close(code, 'see you')
      const reconnecting = await status('reconnecting')
      t.match(reconnecting, { closeCode: code, reason: 'see you' })
      clock.advance(reconnecting.delayMs)

      await server.connection()
    })
  }

  for (const code of [4400, 4401, 4403, 4408, 4409, 4413, 4429]) {
    t.test(`G97 stops at once when it was closed with ${code}`, async (t) => {
      const { client, connection, clock, status, statuses } = await connected(t)
      const waiting = t.rejects(client.send(hello, { resend: true }), { code: 'CLIENT_REFUSED', closeCode: code })
      const reader = client.events()

      connection.close(code, 'no')

      t.match(await status('closed'), { error: { code: 'CLIENT_REFUSED', closeCode: code, retryable: code === 4408 || code === 4429 } })
      await waiting
      await t.rejects(reader.next(), { code: 'CLIENT_REFUSED' })
      t.equal(clock.scheduled, 0)
      t.notOk(statuses.some(({ state }) => state === 'reconnecting'))
    })
  }

  t.test('comes back when the server cannot be reached, until it can', async (t) => {
    const away = await startScriptedServer(t)
    const { connection, clock, status } = await startConnected(t, away, { threadId: first, reconnect: { maxAttempts: 2 } })
    await away.close()

    for (const attempt of [1, 2]) {
      const reconnecting = await status('reconnecting')
      t.match(reconnecting, { attempt, closeCode: 1006 })
      clock.advance(reconnecting.delayMs)
    }

    t.match(await status('closed'), { error: { code: 'CLIENT_GAVE_UP', retryable: true } })
    await connection.closed
  })

  t.test('asks for a fresh token each time', async (t) => {
    let tokens = 0
    const { connection, clock, status } = await connected(t, { getToken: async () => `token-${++tokens}` })
    t.equal(connection.token, 'token-1')

    connection.drop()
    clock.advance((await status('reconnecting')).delayMs)

    t.equal((await server.connection()).token, 'token-2')
  })

  t.test('tries exactly once more, at once and with a new token, when it was not authenticated', async (t) => {
    let tokens = 0
    const { connection, clock, status } = await connected(t, { getToken: async () => `token-${++tokens}` })

    connection.close(4401)
    t.match(await status('reconnecting'), { delayMs: 0, closeCode: 4401 })
    clock.advance(0)
    const renewed = await server.connection()
    t.equal(renewed.token, 'token-2')
    renewed.establish(null)
    await status('ready')
    await status('ready')
    renewed.close(4401)

    t.match(await status('closed'), { error: { closeCode: 4401 } })
    t.equal(tokens, 2)
  })

  t.test('may renew again after a connection that was stable', async (t) => {
    const { connection, clock, status } = await connected(t, { getToken: async () => 'token' })
    connection.close(4401)
    await status('reconnecting')
    clock.advance(0)
    const renewed = await server.connection()
    renewed.establish(null)
    await status('ready')
    await status('ready')

    clock.advance(10_000)
    renewed.close(4401)

    t.match(await status('reconnecting'), { closeCode: 4401 })
  })

  t.test('waits and tries again when no token can be had, and stops when there will never be one', async (t) => {
    const failures = [new Error('not now'), new ThreadlineClientError('CLIENT_TOKEN_FAILED', { message: 'never', retryable: false })]
    const { client, clock, status } = startClient(t, {
      url: server.url, getToken: async () => { throw failures.shift() ?? new Error('asked too often') }
    })
    clock.advance((await status('reconnecting')).delayMs)

    await t.rejects(client.ready, { code: 'CLIENT_TOKEN_FAILED', message: 'never' })
  })

  t.test('rejects what was sent and not answered, as something to try again', async (t) => {
    const { client, connection } = await connected(t)
    const answers = Promise.allSettled([client.send(hello), client.send({ type: 'list_threads', payload: {} }, { resend: true })])
    await connection.command()
    await connection.command()

    connection.drop()

    for (const outcome of await answers) t.match(outcome, { status: 'rejected', reason: { code: 'CLIENT_DISCONNECTED', retryable: true } })
  })

  t.test('sends an unanswered message again under its id, if told to, before what was written meanwhile', async (t) => {
    const { client, connection, clock, status } = await connected(t, { threadId: first, resend: true })
    const answer = client.send(hello)
    const { id } = await connection.command()
    connection.drop()
    const { delayMs } = await status('reconnecting')
    const later = client.send({ type: 'user_message', payload: { content: 'later' } })
    clock.advance(delayMs)
    const next = await server.connection()
    next.establish(first)

    const again = await next.command()
    t.same([again.id, again.payload, again.thread_id], [id, { content: 'hello' }, undefined])
    const written = await next.command()
    t.equal(written.payload['content'], 'later')
    next.send('message_accepted', accepted(true), { reply_to: again.id })
    next.send('message_accepted', accepted(false), { reply_to: written.id })

    t.equal((await answer).payload.duplicate, true)
    t.equal((await later).payload.duplicate, false)
  })

  // kill: no `moveTo` in `#opened` of client/connect.ts
  t.test('is told all of a thread that its own message had opened just before', async (t) => {
    const { client, connection, clock, status } = await connected(t, { resend: true })
    const answer = client.send(hello)
    const { id } = await connection.command()
    connection.send('thread_created', threadView(first), { reply_to: id })
    connection.send('message_accepted', accepted(false), { thread_id: first, reply_to: id })
    await answer
    connection.drop()
    clock.advance((await status('reconnecting')).delayMs)
    const next = await server.connection()
    next.establish(next.threadId, { sequence: 5 })
    await status('ready')

    t.equal(next.threadId, first)
    t.same(next.position, { after: '0', epoch: 'first' })
    t.match(await status('ready'), { threadId: first, missed: 5 })
  })

  // kill: `message_accepted` is not followed in client/connect.ts
  t.test('is in the thread of a message that had been accepted before, when it is lost again before anything was told of it', async (t) => {
    const { client, connection, clock, status } = await connected(t, { resend: true })
    const answer = client.send(hello)
    await connection.command()
    connection.drop()
    clock.advance((await status('reconnecting')).delayMs)
    const again = await server.connection()
    again.establish(null)
    again.send('message_accepted', accepted(true), { thread_id: first, reply_to: (await again.command()).id })
    await answer
    again.drop()
    clock.advance((await status('reconnecting')).delayMs)
    const last = await server.connection()
    last.establish(last.threadId)

    t.equal(last.threadId, first)
    t.same(last.position, { after: '0', epoch: 'first' })
  })

  t.test('is in the thread that it had named in a message before it was in any', async (t) => {
    const { client, connection, clock, status } = await connected(t)
    const answer = client.send({ ...hello, thread_id: second })
    connection.send('message_accepted', accepted(false), { thread_id: second, reply_to: (await connection.command()).id })
    await answer
    const entered = client.threadId
    connection.drop()
    clock.advance((await status('reconnecting')).delayMs)
    const next = await server.connection()
    next.establish(next.threadId)

    t.equal(entered, second)
    t.equal(next.threadId, second)
    t.same(next.position, { after: null, epoch: null }, 'what it has not seen of it nobody can say')
  })

  t.test('does not put a message into another thread than it was written in', async (t) => {
    const { client, connection, clock, status } = await connected(t, { threadId: first })
    connection.drop()
    const { delayMs } = await status('reconnecting')
    const refused = t.rejects(client.send(hello), { code: 'THREADLINE_THREAD_NOT_FOUND' })
    clock.advance(delayMs)
    const next = await server.connection()
    next.establish(null)

    const { id, thread_id: threadId } = await next.command()
    t.equal(threadId, first)
    next.send('error', { code: 'THREADLINE_THREAD_NOT_FOUND', message: 'There is no such thread', retryable: false }, { reply_to: id })

    await refused
    t.equal(client.threadId, null)
  })

  t.test('does not wait for a connection longer than the time limit of the command', async (t) => {
    const { client, connection, clock, status } = await connected(t, { sendTimeoutMs: 100, reconnect: { baseMs: 10_000 } })
    connection.drop()
    await status('reconnecting')
    const answer = client.send(hello)

    clock.advance(100)

    await t.rejects(answer, { code: 'CLIENT_TIMED_OUT' })
  })

  t.test('does not go on as another user', async (t) => {
    const { client, connection, clock, status } = await connected(t, { getToken: async () => 'token' })
    connection.drop()
    const { delayMs } = await status('reconnecting')
    const held = t.rejects(client.send(hello), { code: 'CLIENT_IDENTITY_CHANGED' })
    clock.advance(delayMs)
    const next = await server.connection()

    next.establish(null, { userId: 'bob' })

    t.match(await status('closed'), { error: { code: 'CLIENT_IDENTITY_CHANGED' } })
    await held
    await next.closed
    t.equal(next.unread.length, 0)
    t.equal(client.userId, 'alice')
  })

  t.test('tells an event once that comes again on the new connection', async (t) => {
    const { client, connection, clock, status } = await connected(t, { threadId: first })
    const reader = client.events()
    connection.send('agent_thinking', { message: '1', step: 0 }, { sequence: 1 })
    t.match(await reader.next(), { value: { sequence: 1 } })
    connection.drop()
    const { delayMs } = await status('reconnecting')
    clock.advance(delayMs)
    const next = await server.connection()
    next.establish(first, { sequence: 2 })
    await reader.next()

    for (const sequence of [1, 2, 3]) next.send('agent_thinking', { message: String(sequence), step: 0 }, { sequence })

    t.match(await reader.next(), { value: { sequence: 2 } })
    t.match(await reader.next(), { value: { sequence: 3 } })
  })

  t.test('G91 asks for the rest when it is lost again in the middle of what is told again', async (t) => {
    const { client, connection, clock, status } = await connected(t, { threadId: first })
    const reader = client.events()
    const thinking = (to: typeof connection, sequence: number): void => {
      to.send('agent_thinking', { message: String(sequence), step: 0 }, { sequence })
    }
    thinking(connection, 1)
    await reader.next()

    connection.drop()
    clock.advance((await status('reconnecting')).delayMs)
    const second = await server.connection()
    t.same(second.position, { after: '1', epoch: 'first' })
    second.establish(first, { sequence: 5 })
    thinking(second, 2)
    await reader.next()
    await reader.next()
    second.drop()
    clock.advance((await status('reconnecting')).delayMs)
    const third = await server.connection()

    t.same(third.position, { after: '2', epoch: 'first' })
    third.establish(first, { sequence: 5 })
    for (const sequence of [3, 4, 5]) thinking(third, sequence)
    third.send('resumed', { after: 2, replayed: 3, sequence: 5, epoch: 'first', active_runs: [] })
    t.match(await reader.next(), { value: { type: 'connection_established' } })
    for (const sequence of [3, 4, 5]) t.match(await reader.next(), { value: { sequence } })
    t.match(await reader.next(), { value: { type: 'resumed' } })
  })

  t.test('goes on from a new position when the server cannot tell what was missed', async (t) => {
    const { client, connection, clock, status } = await connected(t, { threadId: first })
    connection.send('agent_thinking', { message: '1', step: 0 }, { sequence: 1 })
    await connection.roundTrip()
    connection.drop()
    clock.advance((await status('reconnecting')).delayMs)
    const next = await server.connection()
    const reader = client.events()
    next.establish(first, { sequence: 3, epoch: 'second' })
    next.send('resync_required', {
      reason: 'epoch_changed', thread: threadView(first), messages: [], has_more: false, sequence: 3, epoch: 'second', active_runs: []
    })
    await status('ready')
    t.match(await status('ready'), { reconnected: true, missed: null })
    await reader.next()
    t.match(await reader.next(), { value: { type: 'resync_required' } })

    next.drop()
    clock.advance((await status('reconnecting')).delayMs)

    t.same((await server.connection()).position, { after: '3', epoch: 'second' })
  })

  // Kill: let `resync_required` move the position in client/connect.ts, as `resumed` does.
  t.test('tells what comes after a position below its own, when the server does not know its own', async (t) => {
    const { client, connection, clock, status, events } = await connected(t, { threadId: first })
    for (const sequence of [1, 2, 3]) connection.send('agent_thinking', { message: `old ${sequence}`, step: 0 }, { sequence })
    await connection.roundTrip()
    connection.drop()
    clock.advance((await status('reconnecting')).delayMs)
    const next = await server.connection()
    next.establish(first, { sequence: 1 })
    next.send('resync_required', {
      reason: 'position_unknown', thread: threadView(first), messages: [], has_more: false, sequence: 1, epoch: 'first', active_runs: []
    })
    next.send('agent_thinking', { message: 'new 2', step: 0 }, { sequence: 2 })
    await next.roundTrip()
    next.drop()
    await status('ready')
    clock.advance((await status('reconnecting')).delayMs)

    t.same(events.flatMap((event) => event.type === 'agent_thinking' ? [event.payload.message] : []), ['old 1', 'old 2', 'old 3', 'new 2'])
    t.same((await server.connection()).position, { after: '2', epoch: 'first' })
    await client.close()
  })

  t.test('stays away when it is closed while it waits or connects', async (t) => {
    const { client, connection, clock, status } = await connected(t)
    connection.drop()
    await status('reconnecting')

    await client.close()

    t.equal(clock.scheduled, 0)
    const other = startClient(t, { url: server.url })
    const closing = other.client.close()
    await t.rejects(other.client.ready, { code: 'CLIENT_CLOSED' })
    await closing
    t.equal(other.clock.scheduled, 0)
  })
})

t.test('a connection that does not come about', async (t) => {
  const server = await startScriptedServer(t)

  t.test('is tried again when the server is silent for too long', async (t) => {
    const { clock, status } = startClient(t, { url: server.url, connectTimeoutMs: 1_000 })
    const silent = await server.connection()

    clock.advance(1_000)

    t.match(await status('reconnecting'), { closeCode: 1006, reason: /in time/ })
    await silent.closed
  })

  t.test('is tried again when the token is not there in time, and the request for it is aborted', async (t) => {
    const aborted = Promise.withResolvers<void>()
    const { clock, status } = startClient(t, {
      url: server.url,
      connectTimeoutMs: 1_000,
      getToken: (signal) => new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          reject(signal.reason as Error) // what abort() makes
          aborted.resolve()
        })
      })
    })

    clock.advance(1_000)

    await status('reconnecting')
    await aborted.promise
  })

  t.test('is judged by its HTTP status where the WebSocket tells it', async (t) => {
    t.teardown(() => { server.refuseUpgrades(undefined) })

    for (const status of [401, 403, 404, 429]) {
      server.refuseUpgrades(status)
      const { client } = startClient(t, { url: server.url })
      await t.rejects(client.ready, { code: 'CLIENT_REFUSED', closeCode: 4000 + status })
    }
    server.refuseUpgrades(503)
    const { status } = startClient(t, { url: server.url })
    t.match(await status('reconnecting'), { closeCode: 4503 })
  })

  // kill: `deferralMs` of client/reconnect-policy.ts answers nothing.
  t.test('is tried again when the server says when, and not for ever', async (t) => {
    t.teardown(() => { server.refuseUpgrades(undefined) })
    server.refuseUpgrades(429, 7)
    const { client, clock, status } = startClient(t, { url: server.url, reconnect: { baseMs: 100 } })
    const ended = t.rejects(client.ready, { code: 'CLIENT_REFUSED', closeCode: 4429 })

    for (const attempt of [1, 2, 3, 4, 5]) {
      const reconnecting = await status('reconnecting')
      t.match(reconnecting, { attempt, closeCode: 4429, delayMs: 7_099 })
      clock.advance(reconnecting.delayMs)
    }
    await ended
    server.refuseUpgrades(401, 7)
    const { client: stranger } = startClient(t, { url: server.url })

    await t.rejects(stranger.ready, { code: 'CLIENT_REFUSED', closeCode: 4401 }, 'coming again would change nothing')
  })

  t.test('is tried again where it does not', async (t) => {
    t.teardown(() => { server.refuseUpgrades(undefined) })
    server.refuseUpgrades(401)

    const { status } = startClient(t, { url: server.url, WebSocket: globalThis.WebSocket })

    t.match(await status('reconnecting'), { closeCode: 1006 })
  })
})

t.test('a connection that is open', async (t) => {
  const server = await startScriptedServer(t)

  t.test('is given up when the server no longer answers', async (t) => {
    const { connection, clock, status } = await startConnected(t, server, { heartbeatMs: 20_000 })

    clock.advance(20_000)
    t.equal((await connection.command()).type, 'ping')
    clock.advance(10_000)

    t.match(await status('reconnecting'), { closeCode: 1006, reason: 'The server does not answer' })
  })

  t.test('is kept while anything is heard, and its pongs are not told', async (t) => {
    const { client, connection, clock, statuses, events } = await startConnected(t, server, { heartbeatMs: 20_000, WebSocket })
    const reader = client.events()

    for (let beat = 0; beat < 3; beat++) {
      clock.advance(20_000)
      connection.send('pong', {}, { reply_to: (await connection.command()).id })
      connection.send('presence', { connections: 1 })
      t.match(await reader.next(), { value: { type: 'presence' } })
    }

    t.notOk(statuses.some(({ state }) => state === 'reconnecting'))
    t.notOk(events.some(({ type }) => type === 'pong'))
  })

  t.test('gets a new token before the old one expires', async (t) => {
    let tokens = 0
    const { connection } = await startConnected(t, server, { getToken: async () => `token-${++tokens}` })

    connection.send('token_expiring', { expires_at: '2026-11-22T12:01:00.000Z' })

    t.match(await connection.command(), { type: 'authenticate', payload: { token: 'token-2' } })
  })

  t.test('lives on with the old token when no new one can be had', async (t) => {
    const tokens = ['token']
    const { client, connection } = await startConnected(t, server, {
      getToken: async () => {
        const token = tokens.shift()
        if (token === undefined) throw new Error('not now')
        return token
      }
    })

    connection.send('token_expiring', { expires_at: '2026-11-22T12:01:00.000Z' })
    const answer = client.send({ type: 'ping', payload: {} })
    connection.send('pong', {}, { reply_to: (await connection.command('ping')).id })

    t.equal((await answer).type, 'pong')
  })
})
