import t from 'tap'
import type { Engine } from '../../lib/engine/engine.ts'
import { actingAs } from '../support/acting-as.ts'
import { createGatedAgent } from '../support/gated-agent.ts'
import { httpClient } from '../support/http-client.ts'
import { untilSessions } from '../support/run-end.ts'
import { startGateway } from '../support/start-gateway.ts'
import { startServer } from '../support/start-server.ts'
import { asUser, readThread } from '../support/stored-thread.ts'

const gated = createGatedAgent()
const server = await startServer(t, { agents: [gated.agent], env: { DEFAULT_AGENT: 'assistant' } })
const { storage, engine, gateway } = server.app

t.test('whoever asks is told who they are and what they have used, and nothing of others', async (t) => {
  const [call, other] = [await httpClient(server, 'anna'), await httpClient(server, 'ben')]
  const socket = await server.connect('anna', { thread: await server.thread('anna') })
  const completed = await socket.chat('What time is it?')

  const mine = await call('GET', '/v1/me')
  const theirs = await other('GET', '/v1/me')

  const { usage } = completed.payload
  t.match(mine, { status: 200, body: { user_id: 'anna', token_expires_at: /Z$/, usage: { threads: 1, messages: 2, runs: 1 } } })
  const [model] = (mine.body as { usage: { models: { input_tokens: number, output_tokens: number }[] } }).usage.models
  t.ok(model !== undefined && usage !== undefined && model.input_tokens >= usage.input_tokens && model.output_tokens >= usage.output_tokens)
  t.match(theirs, { status: 200, body: { user_id: 'ben', usage: { threads: 0, messages: 0, runs: 0, models: [] } } })
})

// Kill: leave the user out of `erase_user` and `delete_threads` in lib/storage/migrations/0009-retention.ts, and let the policies of
// 0002-row-level-security.ts be `true`: each of the two alone is held by the other.
t.test('whoever asks for it is erased: runs are stopped, everything is gone, connections are shown out, and others notice nothing', async (t) => {
  const call = await httpClient(server, 'carol')
  const [thread, busy] = [await server.thread('carol'), await server.thread('carol')]
  const theirs = await server.thread('dora')
  const [inside, outside, neighbour] = [await server.connect('carol', { thread: busy }), await server.connect('carol'), await server.connect('dora', { thread: theirs })]
  await outside.ask({ type: 'user_message', thread_id: thread, payload: { content: 'to be erased', agent: 'echo' } })
  await inside.ask({ type: 'user_message', payload: { content: 'c1', agent: 'gated' } })
  await neighbour.ask({ type: 'user_message', payload: { content: 'n1', agent: 'gated' } })
  await Promise.all(['c1', 'n1'].map((content) => gated.arrived.next((arrived) => arrived === content)))
  await neighbour.settled()
  const heard = neighbour.events.length

  const erased = await call('DELETE', '/v1/me')
  const closes = await Promise.all([inside.closed, outside.closed])
  const after = await call('GET', '/v1/me')
  gated.open('n1')
  const going = await neighbour.until('agent_completed')

  t.match(erased, { status: 200, body: { threads: 2, runs: 2 } })
  const counts = erased.body as { messages: number, events: number }
  t.ok(counts.messages >= 2 && counts.events >= 5, JSON.stringify(counts))
  t.same(closes.map(({ code }) => code), [4401, 4401])
  for (const socket of [inside, outside]) t.match(socket.events.at(-1), { type: 'error', thread_id: null, payload: { code: 'THREADLINE_UNAUTHENTICATED' } })
  t.match(inside.ofType('agent_completed').at(-1), { payload: { status: 'cancelled' } }, 'its run was told to end first')
  t.match(after.body, { usage: { threads: 0, messages: 0, runs: 0, models: [] } })
  t.match(await call('GET', `/v1/threads/${thread}`), { status: 404 })
  await t.rejects(readThread(storage, 'carol', thread), { code: 'THREADLINE_THREAD_NOT_FOUND' })
  t.match(going, { thread_id: theirs, payload: { status: 'completed' } })
  t.same(neighbour.events.slice(heard).map(({ user_id: user }) => user).filter((user) => user !== 'dora'), [])
  t.equal((await readThread(storage, 'dora', theirs)).messages.length, 2)
  t.equal(actingAs('carol', () => gateway.registry.getUserConnections().size), 0)
  await untilSessions(engine, 0)
  t.equal(server.violations.length, 0)
})

t.test('a message that comes when the runs were stopped already is erased as well, and its run leaves nothing behind', async (t) => {
  const thread = await server.thread('edith')
  const late = await server.connect('edith', { thread })
  const stopUser: Engine['stopUser'] = async (timeoutMs) => {
    await engine.stopUser(timeoutMs)
    await late.ask({ type: 'user_message', payload: { content: 'e1', agent: 'gated' } })
    await gated.arrived.next((content) => content === 'e1')
  }
  const own = await startGateway(t, server, { tools: { engine: { ...engine, stopUser } } })

  const erased = await asUser('edith', async () => await own.gateway.eraseUser())
  gated.open('e1')
  await untilSessions(engine, 0)

  t.match(erased, { threads: 1, messages: 1, runs: 1 })
  t.match((await (await httpClient(server, 'edith'))('GET', '/v1/me')).body, { usage: { threads: 0, messages: 0, runs: 0, models: [] } })
  t.notOk((await storage.runs.recoverable()).some(({ userId }) => userId === 'edith'))
  t.same(engine.load, { sessions: 0, runs: 0, slotsTaken: 0, waiting: 0 })
})

t.test('whoever was erased can begin anew, with the same client ids', async (t) => {
  const call = await httpClient(server, 'edith')
  const before = await server.connect('edith')
  const first = await before.ask({ type: 'user_message', id: 'mine', payload: { content: 'the first', agent: 'echo' } })
  await before.until('agent_completed')
  const empty = await httpClient(server, 'nobody-yet')

  await call('DELETE', '/v1/me')
  const socket = await server.connect('edith')
  const again = await socket.ask({ type: 'user_message', id: 'mine', payload: { content: 'another', agent: 'echo' } })
  await socket.until('agent_completed')

  t.match(again, { type: 'message_accepted', payload: { duplicate: false } })
  t.not(again.thread_id, first.thread_id)
  t.match(await asUser('edith', () => storage.account.usage()), { threads: 1, messages: 2, runs: 1 })
  t.strictSame((await empty('DELETE', '/v1/me')).body, { threads: 0, messages: 0, runs: 0, events: 0 }, 'and one of whom nothing is kept is erased as well')
})
