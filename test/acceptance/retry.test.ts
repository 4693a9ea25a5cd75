import t from 'tap'
import { createGatedAgent } from '../support/gated-agent.ts'
import { startServer } from '../support/start-server.ts'

const gated = createGatedAgent()
const server = await startServer(t, { agents: [gated.agent], env: { DEFAULT_AGENT: 'echo' } })

t.test('a message that is sent again under its id is the same message, wherever it is sent from', async (t) => {
  const first = await server.connect('alice')
  const second = await server.connect('alice')
  const elsewhere = await server.connect('alice', { thread: await server.thread('alice') })
  const message = { type: 'user_message', id: 'only-once', payload: { content: 'once' } }

  const accepted = await first.ask(message)
  await first.until('agent_completed')
  const again = await first.ask(message)
  const onNewSocket = await second.ask(message)
  const inOtherThread = await elsewhere.ask(message)

  t.match(accepted, { type: 'message_accepted', payload: { duplicate: false } })
  for (const answer of [again, onNewSocket, inOtherThread]) {
    t.match(answer, { type: 'message_accepted', thread_id: accepted.thread_id, run_id: accepted.run_id, payload: { ...accepted.payload, duplicate: true } })
  }
  const history = await second.ask({ type: 'get_thread_history', payload: {} })
  t.match(history, { thread_id: accepted.thread_id, payload: { messages: [{ role: 'user' }, { role: 'assistant' }] } }, 'the new socket is in its thread')
  t.equal((await elsewhere.settled()).filter((event) => event.sequence !== undefined).length, 0, 'and the other one stays in its own')
  const threads = await first.ask({ type: 'list_threads', payload: {} })
  t.match(threads.payload, { total: 2 })
})

// Kill: let `acceptRun` in lib/handlers/accept-run.ts put the connection at the thread's end, by `enterKnownThread`.
t.test('a message that is sent again where nothing was heard of its run is told all of the run, whether that has ended or not', async (t) => {
  const [first, second, third] = [await server.connect('erin'), await server.connect('erin'), await server.connect('erin')]
  const message = { type: 'user_message', id: 'lost', payload: { content: 'erin', agent: 'gated' } }
  const accepted = await first.ask(message)
  await gated.arrived.next((content) => content === 'erin')

  const inTheMiddle = await second.ask(message)
  await second.until('resumed')
  gated.open('erin')
  await first.until('agent_completed')
  await second.until('agent_completed')
  const afterwards = await third.ask(message)
  await third.until('resumed')

  for (const answer of [inTheMiddle, afterwards]) t.match(answer, { type: 'message_accepted', run_id: accepted.run_id, payload: { duplicate: true } })
  const told = first.runEvents.map((event) => ({ ...event, replayed: true }))
  t.equal(told.at(0)?.type, 'agent_started')
  for (const socket of [second, third]) t.same(socket.runEvents.map((event) => ({ ...event, replayed: true })), told)
  t.ok(third.runEvents.every(({ replayed }) => replayed === true))
})

t.test('an id that was used for other content is refused, and nothing is stored', async (t) => {
  const socket = await server.connect('bob')
  const accepted = await socket.ask({ type: 'user_message', id: 'taken', payload: { content: 'one' } })
  await socket.until('agent_completed')

  const refused = await socket.ask({ type: 'user_message', id: 'taken', payload: { content: 'two' } })

  t.match(refused, { type: 'error', payload: { code: 'THREADLINE_CONFLICT' } })
  const history = await socket.ask({ type: 'get_thread_history', payload: {} })
  t.match(history, { thread_id: accepted.thread_id, payload: { messages: [{ content: 'one' }, { role: 'assistant' }] } })
})

t.test('two users can use the same id', async (t) => {
  const [one, other] = [await server.connect('carol'), await server.connect('dave')]

  const answers = await Promise.all([one, other].map((socket) => socket.ask({ type: 'user_message', id: 'same', payload: { content: 'hi' } })))

  t.match(answers, [{ user_id: 'carol', payload: { duplicate: false } }, { user_id: 'dave', payload: { duplicate: false } }])
  t.not(answers[0]?.thread_id, answers[1]?.thread_id)
})
