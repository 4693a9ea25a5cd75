import type { ReadableSpan } from '@opentelemetry/sdk-trace'
import t from 'tap'
import { defineAgent } from '../../lib/agents/define-agent.ts'
import { attributes } from '../../lib/context/attributes.ts'
import { toRunId, type ThreadId } from '../../lib/protocol/ids.ts'
import { createHaltingAgent } from '../support/halting-agent.ts'
import { listener } from '../support/listener.ts'
import { endOfRun } from '../support/run-end.ts'
import { startServer } from '../support/start-server.ts'
import { readThread } from '../support/stored-thread.ts'
import type { TestStream } from '../support/test-stream.ts'
import { hopOf, traceIdOf } from '../support/trace-of.ts'

// How event streams end, and in whose name they are told. Users are named after what happens to them.

const { agent: halting, halted } = createHaltingAgent()
/** Far more than the kernel takes for a reader that does not read. */
const pages = 192
const verbose = defineAgent({
  name: 'verbose',
  async * run ({ content, signal }) {
    for (let page = 0; page < pages; page += 1) yield { type: 'thinking', message: `${page} `.padEnd(100_000, 'x') }
    if (content === 'until stopped') await reasonOf(signal)
  }
})
const quick = defineAgent({ name: 'quick', async * run ({ content }) { yield { type: 'text', text: content } } })

const server = await startServer(t, { agents: [halting, verbose, quick], env: { DEFAULT_AGENT: 'quick', MAX_OUTBOX_BYTES: 500_000 } })
const { storage, gateway } = server.app

const haltedAt = (content: string) => halted.next((run) => run.content === content)
const runOf = ({ events: [first] }: TestStream) => toRunId(first?.run_id)

// Kill: let `stopWhenLeft` in lib/gateway/run-stream.ts stop the run whatever ended the stream.
t.test('H101 a reader whose token expires is told and let go, and a run that it started goes on', async (t) => {
  const thread = await server.thread('expiring')
  const expiring = await listener(t, server, 'expiring', 2)

  const [reader, starter] = [
    await expiring.follow(thread), await expiring.run(thread, { content: 'outlives', agent: 'halting', on_disconnect: 'cancel' })
  ]
  const run = await haltedAt('outlives')

  for (const stream of [reader, starter]) {
    t.equal(await stream.closed, 'ended')
    t.ok(stream.ofType('token_expiring').length > 0)
    t.match(stream.events.at(-1), { type: 'error', user_id: 'expiring', payload: { code: 'THREADLINE_TOKEN_EXPIRED' } })
    t.same(stream.goodbye, { code: 4401, reason: 'notAuthenticated' })
  }
  await readThread(storage, 'expiring', thread) // whatever was to be done to the run is done by now: the storage answers in turn
  t.equal(run.signal.aborted, false)
  run.goOn()
  t.match(await endOfRun(server.app, 'expiring', runOf(starter)), { payload: { status: 'completed' } })
})

t.test('G93 a reader that does not read is let go, and has everything once when it comes back', async (t) => {
  const thread = await server.thread('slow')
  const slow = await listener(t, server, 'slow')
  const [reader, socket] = [await slow.follow(thread), await server.connect('slow', { thread })]
  await reader.until('connection_established')
  reader.pause()

  const { sequence: last = 0 } = await socket.chat('on and on', { agent: 'verbose' })
  reader.resume()
  await reader.closed

  t.ok(reader.runEvents.length > 0 && reader.runEvents.length < last)
  const back = await slow.follow(thread, { lastEventId: reader.lastEventId })
  await back.until('resumed')
  t.same([...reader.runEvents, ...back.runEvents].map(({ sequence }) => sequence), Array.from({ length: last }, (_, index) => index + 1))
})

t.test('G93 with on_disconnect: cancel the run of a reader that does not read is stopped', async (t) => {
  const thread = await server.thread('asleep')
  const asleep = await listener(t, server, 'asleep')
  const reader = await asleep.run(thread, { content: 'until stopped', agent: 'verbose', on_disconnect: 'cancel' })
  await reader.until('message_accepted')
  reader.pause()

  t.match(await endOfRun(server.app, 'asleep', runOf(reader)), { payload: { status: 'cancelled', reason: 'cancelled' } })
})

t.test('E64 the streams of a thread that is deleted say so, and are complete', async (t) => {
  const thread = await server.thread('deleted')
  const [deleted, socket] = [await listener(t, server, 'deleted'), await server.connect('deleted')]
  const [reader, starter] = [await deleted.follow(thread), await deleted.run(thread, { content: 'in vain', agent: 'halting' })]
  await haltedAt('in vain')

  await socket.ask({ type: 'delete_thread', payload: { thread_id: thread } })

  t.same(await Promise.all([reader.closed, starter.closed]), ['ended', 'ended'])
  t.match(starter.events.at(-1), { type: 'agent_completed', payload: { status: 'cancelled' } })
  t.match(reader.ofType('agent_completed'), [{ payload: { status: 'cancelled' } }])
  t.match(reader.events.at(-1), { type: 'thread_deleted', payload: { thread_id: thread } })
  t.equal(reader.goodbye, undefined)
})

t.test('a user who is erased is shown out of every stream', async (t) => {
  const thread = await server.thread('erased')
  const erased = await listener(t, server, 'erased')
  const [reader, starter] = [await erased.follow(thread), await erased.run(thread, { content: 'for nothing', agent: 'halting' })]
  await haltedAt('for nothing')

  const answer = await fetch(`${server.url}/v1/me`, { method: 'DELETE', headers: { authorization: `Bearer ${await server.token('erased')}` } })

  t.ok(answer.ok)
  t.same(await Promise.all([reader.closed, starter.closed]), ['ended', 'ended'])
  t.match(reader.events.at(-1), { type: 'error', payload: { code: 'THREADLINE_UNAUTHENTICATED' } })
  t.equal(reader.goodbye?.code, 4401)
})

// Kill: send without `enterEvent` in lib/gateway/replay.ts.
t.test('B20 J124 what is told, live or again, is told in the name and in the trace of its run, not of the request that reads it', async (t) => {
  const thread = await server.thread('traced')
  const traced = await listener(t, server, 'traced')
  const first = await traced.follow(thread)
  await first.until('connection_established')
  const starter = await traced.run(thread, { content: 'hello' })
  await Promise.all([starter.closed, first.until('agent_completed')])
  const again = await traced.follow(thread, { lastEventId: first.lastEventId.replace(/\d+$/, '0') })
  await again.until('resumed')

  for (const reader of [first, starter, again]) {
    const connectionId = await connectionOf(reader, thread)
    const requestId = reader.headers['x-request-id']
    for (const event of reader.runEvents.filter(({ type }) => type !== 'agent_delta')) {
      const sent = await server.spans.until((spans) => spans.find((span) => isDelivery(span, event.event_id, connectionId)))

      t.match(sent.attributes, {
        [attributes.userId]: 'traced', [attributes.threadId]: thread, [attributes.runId]: event.run_id, [attributes.requestId]: event.request_id
      })
      t.equal(sent.spanContext().traceId, traceIdOf(event))
      t.equal(traceIdOf(event), traceIdOf(starter.events[0] ?? event), 'one trace from the request to the last event')
      t.equal(event.request_id === requestId, reader === starter, 'the request that sent the message, and no other')
    }
  }
  t.same(server.violations, [])

  async function connectionOf (reader: TestStream, of: ThreadId): Promise<unknown> {
    if (reader !== starter) return reader.ofType('connection_established')[0]?.payload.connection_id
    const { runs } = await readThread(storage, 'traced', of)
    return runs[0]?.connectionId
  }
})

function isDelivery (span: ReadableSpan, eventId: string, connectionId: unknown): boolean {
  return hopOf(span) === 'socket.send' && span.attributes[attributes.eventId] === eventId && span.attributes[attributes.connectionId] === connectionId
}

t.test('A11 K130 at shutdown every reader is told to come back, and nothing holds the server up', async (t) => {
  const thread = await server.thread('closing')
  const closing = await listener(t, server, 'closing')
  const readers = [
    await closing.follow(thread), await closing.follow(thread), await closing.run(thread, { content: 'to the end', agent: 'halting', on_disconnect: 'cancel' })
  ]
  const run = await haltedAt('to the end')
  const stopped = reasonOf(run.signal)

  const closed = server.close()
  for (const reader of readers) {
    t.equal(await reader.closed, 'ended')
    t.same(reader.goodbye, { code: 1001, reason: 'drain' })
  }
  t.notMatch(await stopped, { reason: 'cancelled' }, 'its reader has not left')
  await closed

  t.match(gateway.load, { connections: 0, users: 0, followedThreads: 0 })
})

async function reasonOf (signal: AbortSignal): Promise<unknown> {
  if (signal.aborted) return signal.reason
  return await new Promise((resolve) => { signal.addEventListener('abort', () => { resolve(signal.reason) }) })
}
