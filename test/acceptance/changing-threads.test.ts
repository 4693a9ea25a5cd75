import t from 'tap'
import { defineAgent } from '../../lib/agents/define-agent.ts'
import { enterThread } from '../../lib/context/current-thread.ts'
import { createIdentity } from '../../lib/context/identity.ts'
import { toThreadId, toUserId } from '../../lib/protocol/ids.ts'
import { startServer } from '../support/start-server.ts'

/** Tells many events, one after the other, for as long as it is not stopped. */
const talker = defineAgent({
  name: 'talker',
  async * run ({ content, signal }) {
    for (let word = 0; word < Number(content) && !signal.aborted; word += 1) yield { type: 'thinking', message: String(word) }
    yield { type: 'text', text: 'done' }
  }
})
const waiting = defineAgent({
  name: 'waiting',
  async * run ({ signal }) {
    await new Promise((_resolve, reject) => { signal.addEventListener('abort', () => { reject(signal.reason as Error) }) })
    yield { type: 'text', text: 'never' }
  }
})
const server = await startServer(t, { agents: [talker, waiting] })

t.test('a socket that enters a thread in the middle of a run gets every event after its position, once and in order', async (t) => {
  // kill: `bindThread` in `holdBack` of lib/gateway/connection.ts
  const [busy, quiet] = [await server.thread('alice'), await server.thread('alice')]
  const sender = await server.connect('alice', { thread: busy })
  const visitor = await server.connect('alice', { thread: quiet })
  const run = sender.chat('200', { agent: 'talker' })

  for (let visit = 0; visit < 12; visit += 1) {
    const from = visitor.events.length
    const switched = await visitor.ask({ type: 'switch_thread', payload: { thread_id: busy } })
    const position = (switched.payload as { sequence: number }).sequence
    await visitor.settled()
    await visitor.ask({ type: 'switch_thread', payload: { thread_id: quiet } })

    const sequences = visitor.events.slice(from).flatMap(({ sequence }) => sequence ?? [])
    t.same(sequences, sequences.map((_sequence, index) => position + 1 + index), `visit ${visit}: ${sequences.length} events`)
  }
  await run
  const all = (await sender.settled()).flatMap(({ sequence }) => sequence ?? [])
  t.same(all, all.map((_sequence, index) => index + 1))
  t.same(server.violations, [])
})

t.test('a socket without a thread that names one of the user\'s is put into it, and hears the answer', async (t) => {
  const thread = await server.thread('bob')
  const socket = await server.connect('bob')

  const accepted = await socket.ask({ type: 'user_message', thread_id: thread, payload: { content: 'hello', agent: 'echo' } })
  const completed = await socket.until('agent_completed')

  t.equal(accepted.thread_id, thread)
  t.match(completed, { thread_id: thread, run_id: accepted.run_id, payload: { status: 'completed' } })
})

t.test('a message that interrupts stops what stands before it, and two of them do not stop each other', async (t) => {
  const thread = await server.thread('carol')
  const [one, other] = [await server.connect('carol', { thread }), await server.connect('carol', { thread })]
  const endless = await one.ask({ type: 'user_message', payload: { content: 'x', agent: 'waiting' } })
  await one.until('agent_thinking')

  const interrupting = await Promise.all([one, other].map((socket) => socket.ask({
    type: 'user_message', payload: { content: '1', agent: 'talker', multitask_strategy: 'interrupt' }
  })))
  const ends = await Promise.all([endless, ...interrupting].map(({ run_id: runId }) => one.until('agent_completed', (event) => event.run_id === runId)))

  t.match(ends[0]?.payload, { status: 'cancelled', reason: 'interrupted' })
  const statuses = ends.slice(1).map(({ payload }) => payload.status)
  t.ok(statuses.includes('completed'), `the last one is answered: ${statuses.join(', ')}`)
})

t.test('a thread that is deleted in the middle of a run ends the run first', async (t) => {
  const thread = await server.thread('dave')
  const socket = await server.connect('dave', { thread })
  const accepted = await socket.ask({ type: 'user_message', payload: { content: 'x', agent: 'waiting' } })
  await socket.until('agent_thinking')

  const deleted = await socket.ask({ type: 'delete_thread', payload: { thread_id: thread } })
  const after = await socket.ask({ type: 'get_thread_history', thread_id: thread, payload: {} })

  t.match(deleted, { type: 'thread_deleted', payload: { thread_id: thread } })
  t.match(after, { type: 'error', payload: { code: 'THREADLINE_THREAD_NOT_FOUND' } })
  const ends = socket.ofType('agent_completed').filter((event) => event.run_id === accepted.run_id)
  t.match(ends, [{ payload: { status: 'cancelled' } }])
  const next = await socket.ask({ type: 'user_message', payload: { content: 'a new start', agent: 'echo' } })
  t.not(next.thread_id, thread, 'the socket is in no thread any more, and starts a new one')
  const unfinished = await enterThread(createIdentity({ userId: toUserId('dave') }), () => server.app.storage.runs.unfinished(toThreadId(thread)))
  t.same(unfinished, [])
})

t.test('a refused message that would have made a thread names none', async (t) => {
  const socket = await server.connect('erin')

  const refused = await socket.ask({ type: 'user_message', payload: { content: 'x', agent: 'nobody' } })

  t.match(refused, { type: 'error', thread_id: null, payload: { code: 'THREADLINE_AGENT_NOT_FOUND' } })
  t.equal(refused.run_id, undefined)
})
