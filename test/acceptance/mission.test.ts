import t from 'tap'
import { attributes } from '../../lib/context/attributes.ts'
import { createIdentity } from '../../lib/context/identity.ts'
import { enterThread } from '../../lib/context/current-thread.ts'
import { isRunId, toUserId } from '../../lib/protocol/ids.ts'
import { createObservingAgent } from '../support/observing-agent.ts'
import { startServer } from '../support/start-server.ts'

// The three tests that started it all: socket → handler, handler → registry, isolation. Nothing in them is a stand-in.

t.test('M1 a message that names no thread reaches the handler with the thread of its socket', async (t) => {
  // kill: let `threadFor` of lib/gateway/identity-of-command.ts forget `bound`
  const server = await startServer(t)
  const thread = await server.thread('alice')
  const socket = await server.connect('alice', { thread })
  const [established] = socket.ofType('connection_established')
  const connectionId = established?.payload.connection_id

  const accepted = await socket.ask({ type: 'user_message', payload: { content: 'hello' } })

  const info = enterThread(createIdentity({ userId: toUserId('alice') }), () => {
    const [connection] = server.app.gateway.registry.getUserConnectionsByThread(thread)
    return connection && server.app.gateway.registry.getConnectionInfo(connection.connectionId)
  })
  t.match(info, { connectionId, userId: 'alice', threadId: thread, active: true })
  t.equal(established?.thread_id, thread)
  t.equal(accepted.type, 'message_accepted')
  t.equal(accepted.thread_id, thread)
  const handler = await server.spans.until((spans) => spans.find((span) => span.name === 'handler' &&
    span.attributes[attributes.requestId] === accepted.request_id))
  t.equal(handler.attributes[attributes.threadId], thread)
  t.equal(handler.attributes[attributes.userId], 'alice')
  t.equal(handler.attributes[attributes.runId], accepted.run_id)
})

t.test('M2 the agent finds itself in the thread of the socket, with the one run id of its message', async (t) => {
  // kill: let `enterRun` of lib/engine/enter-run.ts make a new run id
  const { agent, seen } = createObservingAgent()
  const server = await startServer(t, { agents: [agent] })
  const thread = await server.thread('alice')
  const socket = await server.connect('alice', { thread })
  const connectionId = socket.ofType('connection_established')[0]?.payload.connection_id

  const completed = await socket.chat('hello', { agent: 'observer' })

  t.equal(completed.payload.status, 'completed')
  const [accepted] = socket.ofType('message_accepted')
  t.ok(isRunId(accepted?.payload.run_id))
  t.equal(seen.length, 7)
  for (const { at, identity } of seen) {
    t.match(identity, { userId: 'alice', threadId: thread, runId: accepted?.payload.run_id, connectionId }, at)
  }
  t.same(new Set(socket.runEvents.map(({ run_id: runId }) => runId)), new Set([accepted?.payload.run_id]))
})

t.test('M3 three users in three threads at once each see, store and receive only what is theirs', async (t) => {
  // kill: replace the per-message enterThread of lib/gateway/receive-frame.ts by plain calls
  const { agent, seen } = createObservingAgent()
  const server = await startServer(t, { agents: [agent] })
  const users = ['alice', 'bob', 'carol']
  const chats = await Promise.all(users.map(async (user) => {
    const thread = await server.thread(user)
    return { user, thread, socket: await server.connect(user, { thread }) }
  }))

  await Promise.all(chats.map(({ user, socket }) => socket.chat(`marker of ${user}`, { agent: 'observer' })))

  for (const { user, thread, socket } of chats) {
    const events = await socket.settled()
    t.same(new Set(events.map((event) => event.user_id)), new Set([user]))
    t.same(new Set(events.map((event) => event.thread_id)), new Set([thread]))
    const text = JSON.stringify(events)
    t.notOk(users.some((other) => other !== user && text.includes(`marker of ${other}`)), 'no other user\'s marker was received')

    const own = seen.filter(({ content }) => content === `marker of ${user}`)
    t.equal(own.length, 7)
    t.ok(own.every(({ identity }) => identity.userId === user && identity.threadId === thread), 'agent and tool served the right thread')

    const history = await socket.ask({ type: 'get_thread_history', payload: {} })
    t.match(history.payload, { messages: [
      { role: 'user', content: `marker of ${user}`, thread_id: thread },
      { role: 'assistant', content: `marker of ${user} seen`, thread_id: thread }
    ] })
  }
  t.equal(server.violations.length, 0)
})
