import t from 'tap'
import { attributes } from '../../lib/context/attributes.ts'
import { newThreadId, toRunId, type ThreadId } from '../../lib/protocol/ids.ts'
import { actingAs } from '../support/acting-as.ts'
import { createGatedAgent } from '../support/gated-agent.ts'
import { endOfRun } from '../support/run-end.ts'
import { startGateway } from '../support/start-gateway.ts'
import { startServer } from '../support/start-server.ts'

// What the gateway does for a request without a connection, in the identity that is active.

const gated = createGatedAgent()
const server = await startServer(t, { agents: [gated.agent], env: { DEFAULT_AGENT: 'echo' } })
const { gateway, storage } = server.app

async function threadOf (user: string): Promise<ThreadId> {
  const threadId = newThreadId()
  await actingAs(user, () => storage.threads.create(threadId))
  return threadId
}

t.test('a command is performed as the hop handler, in the request\'s own id, and its answer is the event', async (t) => {
  const thread = await threadOf('anna')

  const answer = await actingAs('anna', () => gateway.perform({ type: 'get_thread', payload: { thread_id: thread } }))

  t.match(answer, { type: 'thread_state', user_id: 'anna', thread_id: thread, payload: { sequence: 0, thread: { thread_id: thread } } })
  const [handler] = server.spans.spans().filter((span) => span.attributes[attributes.requestId] === answer.request_id && span.name === 'handler')
  t.match(handler?.attributes, { [attributes.userId]: 'anna', [attributes.threadId]: thread, [attributes.command]: 'get_thread' })
  t.equal(handler?.attributes[attributes.connectionId], undefined)
})

// Kill: leave `require` of the named threads out of `identityOfCommand` in lib/gateway/identity-of-command.ts.
t.test('a command that names another user\'s thread is refused before its handler begins', async (t) => {
  const thread = await threadOf('anna')
  const from = server.spans.spans().length

  await t.rejects(actingAs('ben', () => gateway.perform({ type: 'stop_agent', thread_id: thread, payload: {} })), { code: 'THREADLINE_THREAD_NOT_FOUND' })
  await t.rejects(actingAs('ben', () => gateway.exportThread(thread, 'json')), { code: 'THREADLINE_THREAD_NOT_FOUND' })

  t.same(server.spans.spans().slice(from).map(({ name }) => name), [])
})

t.test('what is said beside the answer is told as well', async (t) => {
  const thread = await threadOf('carol')
  const told: string[] = []
  const send = async (content: string) => await actingAs('carol', () => gateway.perform(
    { type: 'user_message', thread_id: thread, payload: { content, agent: 'gated' } }, { also: (event) => { told.push(`${event.type} ${event.run_id}`) } }
  ))

  const first = await send('first')
  await gated.arrived.next()
  const second = await send('second')

  t.match([first, second], [{ type: 'message_accepted' }, { type: 'message_accepted' }])
  t.strictSame(told, [`run_queued ${second.run_id}`])
  for (const content of ['first', 'second']) gated.open(content)
  await endOfRun(server.app, 'carol', toRunId(second.run_id))
})

t.test('a message without a thread makes one, which the user\'s connections are told of', async (t) => {
  const tab = await server.connect('hugo')

  const accepted = await actingAs('hugo', () => gateway.perform({ type: 'user_message', payload: { content: 'hello' } }))

  t.match(await tab.until('thread_created'), { payload: { thread_id: accepted.thread_id } })
  await endOfRun(server.app, 'hugo', toRunId(accepted.run_id))
})

t.test('nothing is begun for who has given up, for a payload that is nested too deep, nor for what only a connection can do', async (t) => {
  const thread = await threadOf('dora')
  const nested = Array.from({ length: 40 }).reduce<object>((inner) => ({ inner }), {})
  const refused = [
    [gateway.perform.bind(gateway, { type: 'create_thread', payload: {} }, { signal: AbortSignal.abort() }), 'THREADLINE_CANCELLED'],
    [gateway.perform.bind(gateway, { type: 'create_thread', payload: { metadata: { nested } } }), 'THREADLINE_BAD_REQUEST'],
    [gateway.perform.bind(gateway, { type: 'resume', thread_id: thread, payload: { after: 0, epoch: storage.epoch } }), 'THREADLINE_BAD_REQUEST'],
    [gateway.perform.bind(gateway, { type: 'authenticate', payload: { token: 'x' } }), 'THREADLINE_BAD_REQUEST'],
    [gateway.perform.bind(gateway, { type: 'list_runs', payload: {} }), 'THREADLINE_THREAD_REQUIRED']
  ] as const

  for (const [perform, code] of refused) await t.rejects(actingAs('dora', () => perform()), { code })

  t.match(await actingAs('dora', () => storage.threads.list({ limit: 10 })), { total: 1 })
})

t.test('all connections of the user are told, and nobody else\'s', async (t) => {
  const thread = await threadOf('edith')
  const [inside, outside, stranger] = [await server.connect('edith', { thread }), await server.connect('edith'), await server.connect('fritz')]

  actingAs('edith', () => { gateway.tell('thread_deleted', { thread_id: thread }) }, thread)

  for (const socket of [inside, outside]) t.match(await socket.until('thread_deleted'), { user_id: 'edith', thread_id: null, payload: { thread_id: thread } })
  t.same((await stranger.settled()).map(({ type }) => type), ['connection_established', 'pong'])
})

t.test('nothing is taken any more once the node drains', async (t) => {
  const draining = await startGateway(t, server)
  await draining.gateway.drain()
  const { gateway: closed } = draining

  for (const ask of [
    () => closed.perform({ type: 'list_threads', payload: {} }), () => closed.exportThread(newThreadId(), 'json'), () => closed.eraseUser(),
    () => closed.count()
  ]) await t.rejects(actingAs('gina', async () => { await ask() }), { code: 'THREADLINE_SHUTTING_DOWN' })
})

t.test('no guard had to refuse anything', async (t) => {
  t.equal(server.violations.length, 0)
})
