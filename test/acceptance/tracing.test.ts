import t from 'tap'
import { trace } from '@opentelemetry/api'
import { attributes } from '../../lib/context/attributes.ts'
import { currentThread, tryCurrentIdentity } from '../../lib/context/current-thread.ts'
import { createObservingAgent } from '../support/observing-agent.ts'
import { openSocket, TestSocket } from '../support/test-socket.ts'
import { startServer } from '../support/start-server.ts'
import { traceIdOf, traceOf } from '../support/trace-of.ts'

const observer = createObservingAgent()
const server = await startServer(t, { agents: [observer.agent] })

t.test('J121 baggage and parents that a client claims change nothing: the server\'s own identity wins', async (t) => {
  // kill: add the W3C baggage propagator to the global one, and take `arrived` of receive-frame.ts from the active baggage
  const thread = await server.thread('alice')
  const victim = await server.thread('victim')
  const claimed = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331' }
  const traceparent = `00-${claimed.traceId}-${claimed.spanId}-01`
  const padding = Array.from({ length: 172 }, (_, index) => `pad${index}=x`).join(',')
  const opened = await openSocket(`${server.url.replace('http', 'ws')}/v1/socket?thread_id=${thread}`, {
    protocols: ['threadline.v1', `bearer.${await server.token('alice')}`],
    headers: { baggage: `user.id=victim,gen_ai.conversation.id=${victim},${padding}`, traceparent }
  })
  if (!(opened instanceof TestSocket)) throw new Error('refused')
  t.teardown(() => { opened.drop() })
  await opened.until('connection_established')

  const accepted = await opened.ask({
    type: 'user_message', traceparent, baggage: `user.id=victim,gen_ai.conversation.id=${victim}`, payload: { content: 'J121', agent: 'observer' }
  })
  const completed = await opened.until('agent_completed')

  t.match(accepted, { type: 'message_accepted', user_id: 'alice', thread_id: thread })
  const seen = observer.seen.filter(({ content }) => content === 'J121')
  t.equal(seen.length, 7)
  t.ok(seen.every(({ identity }) => identity.userId === 'alice' && identity.threadId === thread))
  const spans = await traceOf(server, completed)
  t.not(traceIdOf(completed), claimed.traceId, 'the client\'s trace is not the parent')
  const [root] = spans.filter((span) => span.parentSpanContext === undefined)
  t.ok(root?.links.some(({ context }) => context.traceId === claimed.traceId), 'it is a link')
  t.notOk(JSON.stringify(spans.map((span) => span.attributes)).includes('victim'))
})

t.test('J122 two sockets that interleave over awaits each see their own thread at every step', async (t) => {
  const sockets = await Promise.all(['ann', 'ben'].map(async (user) => {
    const thread = await server.thread(user)
    return { user, thread, socket: await server.connect(user, { thread }) }
  }))

  const rounds = Array.from({ length: 10 }, (_, round) => round)
  await Promise.all(rounds.flatMap((round) => sockets.map(({ user, socket }) => socket.chat(`J122 ${user} ${round}`, { agent: 'observer' }))))

  for (const { user, thread } of sockets) {
    const seen = observer.seen.filter(({ content }) => content.startsWith(`J122 ${user} `))
    t.equal(seen.length, 70)
    t.ok(seen.every(({ identity }) => identity.userId === user && identity.threadId === thread))
  }
  const order = observer.seen.filter(({ content }) => content.startsWith('J122')).map(({ identity }) => identity.userId)
  t.ok(order.filter((user, index) => index > 0 && user !== order[index - 1]).length > 2, 'they did interleave')
})

t.test('J123 outside of a message there is no identity, also while and after messages are handled', async (t) => {
  const read: unknown[] = []
  const timer = setInterval(() => { read.push(tryCurrentIdentity()) }, 1)
  t.teardown(() => { clearInterval(timer) })
  const thread = await server.thread('alice')
  const socket = await server.connect('alice', { thread })

  await socket.chat('J123', { agent: 'observer' })
  await new Promise((resolve) => { setImmediate(resolve) })

  t.ok(read.length > 0)
  t.ok(read.every((identity) => identity === undefined))
  t.throws(() => currentThread(), { code: 'THREADLINE_NO_CONTEXT' })
  t.equal(trace.getActiveSpan(), undefined)
})

t.test('J124 the trace that an event names is the trace of the message\'s root span', async (t) => {
  const thread = await server.thread('alice')
  const socket = await server.connect('alice', { thread })

  const completed = await socket.chat('J124', { agent: 'observer' })
  await traceOf(server, completed)

  const root = server.spans.spans().find((span) => span.name === 'socket.receive' &&
    span.attributes[attributes.requestId] === completed.request_id)
  const events = (await socket.settled()).filter(({ request_id: requestId }) => requestId === completed.request_id)
  t.ok(events.length >= 7)
  t.same(new Set(events.map(traceIdOf)), new Set([root?.spanContext().traceId]))
})
