import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { Type } from 'typebox'
import { defineAgent } from '../../lib/agents/define-agent.ts'
import { currentThread } from '../../lib/context/current-thread.ts'
import { threadOfRun, toRunId, type ThreadId } from '../../lib/protocol/ids.ts'
import type { RunStore } from '../../lib/stores/run-store.ts'
import { defineTool } from '../../lib/tools/define-tool.ts'
import { createGatedAgent } from '../support/gated-agent.ts'
import { httpClient } from '../support/http-client.ts'
import { createObservingAgent } from '../support/observing-agent.ts'
import { untilSessions } from '../support/run-end.ts'
import { startGateway } from '../support/start-gateway.ts'
import { eventsOfRun, startServer } from '../support/start-server.ts'
import { readThread } from '../support/stored-thread.ts'
import { strangers } from '../support/strangers.ts'
import type { Sendable, TestSocket } from '../support/test-socket.ts'

// Where a message fails, and whose failure it is. Users are named after their case.

const gated = createGatedAgent()
const observing = createObservingAgent()
const inside = 'what nobody outside may read'

const failingTool = defineTool({
  name: 'failing', description: 'Fails', input: Type.Object({}), execute: async () => { await turn(); throw new Error(inside) }
})
const failing = defineAgent({ name: 'failing', async * run () { await turn(); yield { type: 'thinking', message: 'So far' }; throw new Error(inside) } })
const failingInTool = defineAgent({
  name: 'failing-in-tool',
  tools: [failingTool],
  async * run ({ callTool }) {
    const { success } = await callTool('failing', {})
    yield { type: 'text', text: String(success) }
  }
})
/** After a while, and with a tool, so that two of them are under way together. */
const slow = defineAgent({
  name: 'slow',
  tools: [failingTool],
  async * run ({ content, callTool, signal }) {
    await callTool('failing', {})
    yield { type: 'text', text: `${content} in ${currentThread().threadId}` }
    signal.throwIfAborted()
  }
})
const server = await startServer(t, {
  agents: [gated.agent, observing.agent, failing, failingInTool, slow], env: { DEFAULT_AGENT: 'echo', MAX_WAITING_RUNS_PER_THREAD: 1 }
})
const { storage, engine } = server.app

interface Place { readonly socket: TestSocket, readonly thread: ThreadId, readonly user: string }

async function openIn (user: string): Promise<Place> {
  const thread = await server.thread(user)
  return { user, thread, socket: await server.connect(user, { thread }) }
}

// Kill: leave `run_id`, or `thread_id`, out of `createEvent` in lib/gateway/create-event.ts.
t.test('K126 a message that the handler refuses is told so with its thread and run', async (t) => {
  const { socket, thread } = await openIn('k126-handler')
  const other = await openIn('k126-handler')
  await socket.ask({ type: 'user_message', id: 'taken', payload: { content: 'k126', agent: 'gated' } })
  await gated.arrived.next((content) => content === 'k126')
  await socket.ask({ type: 'user_message', payload: { content: 'waits', agent: 'echo' } })

  for (const [code, command] of [
    ['THREADLINE_AGENT_NOT_FOUND', { type: 'user_message', payload: { content: 'x', agent: 'nobody' } }],
    ['THREADLINE_AGENT_NOT_FOUND', { type: 'start_agent', payload: { input: 'x', agent: 'nobody' } }],
    ['THREADLINE_THREAD_BUSY', { type: 'user_message', payload: { content: 'x', multitask_strategy: 'reject' } }],
    ['THREADLINE_QUEUE_FULL', { type: 'user_message', payload: { content: 'x' } }],
    ['THREADLINE_QUEUE_FULL', { type: 'regenerate', payload: {} }],
    ['THREADLINE_CONFLICT', { type: 'user_message', id: 'taken', payload: { content: 'something else' } }],
    ['THREADLINE_NOT_FOUND', { type: 'user_message', payload: { content: 'x', edit_of: crypto.randomUUID() } }]
  ] as const satisfies readonly (readonly [string, Sendable])[]) {
    for (const [from, named] of [[socket, {}], [other.socket, { thread_id: thread }]] as const) {
      const refused = await from.ask({ ...command, ...named })

      t.match(refused, { type: 'error', user_id: 'k126-handler', thread_id: thread, payload: { code } }, `${command.type} ${code}`)
      t.equal(threadOfRun(toRunId(refused.run_id)), thread, 'the run that there would have been')
    }
  }
  gated.open('k126')
  await socket.until('agent_completed', ({ payload }) => payload.content === 'k126')
})

t.test('K126 a failure inside the handler is told with the thread and run of its message, and with nothing of what is inside', async (t) => {
  const refusing: RunStore = { ...storage.runs, accept: async () => { throw new Error(inside) }, regenerate: async () => { throw new Error(inside) } }
  const broken = await startGateway(t, server, { tools: { storage: { ...storage, runs: refusing } } })
  const threads = await Promise.all([server.thread('k126-anna'), server.thread('k126-ben')])
  const [anna, ben] = await Promise.all([broken.connect('k126-anna', { thread: threads[0] }), broken.connect('k126-ben', { thread: threads[1] })])

  const errors = await Promise.all([anna, ben, anna, ben].map((socket, nth) => socket.ask(
    nth < 2 ? { type: 'user_message', payload: { content: 'x' } } : { type: 'regenerate', payload: {} }
  )))

  for (const [nth, error] of errors.entries()) {
    const thread = threads[nth % 2]
    t.match(error, { type: 'error', user_id: nth % 2 === 0 ? 'k126-anna' : 'k126-ben', thread_id: thread, payload: { code: 'THREADLINE_INTERNAL' } })
    t.equal(threadOfRun(toRunId(error.run_id)), thread)
    t.notOk(JSON.stringify(error).includes(inside))
  }
})

t.test('K126 a failure in registry, engine or tool is told with the thread and run of its message, to its thread alone', async (t) => {
  const known = await startGateway(t, server, { tools: { agents: { ...server.app.agents, has: () => true } } })
  const places = await Promise.all(['k126-carol', 'k126-carol', 'k126-dora'].map(async (user) => {
    const thread = await server.thread(user)
    return { user, thread, socket: await known.connect(user, { thread }), runs: [] as string[] }
  }))

  for (const agent of ['gone-from-the-registry', 'failing', 'failing-in-tool']) {
    await Promise.all(places.map(async ({ socket, thread, runs, user }) => {
      const accepted = await socket.ask({ type: 'user_message', payload: { content: 'x', agent } })
      const runId = accepted.run_id ?? ''
      runs.push(runId)
      const completed = await socket.until('agent_completed', ({ run_id: id }) => id === runId)

      const told = eventsOfRun(socket.events, runId).filter(({ payload }) => 'error' in payload && payload.error !== undefined)
      t.equal(told.length, 1, `${agent}: one event tells the error`)
      t.match(told, [{ type: agent === 'failing-in-tool' ? 'tool_completed' : 'agent_completed', user_id: user, thread_id: thread, run_id: runId }])
      t.equal(completed.payload.status, agent === 'failing-in-tool' ? 'completed' : 'failed')
      t.notOk(JSON.stringify(told).includes(inside))
    }))
  }
  for (const { user, thread, socket, runs } of places) t.same(strangers(await socket.settled(), { user, threads: [thread], runs }), [])
  t.equal(server.violations.length, 0)
})

t.test('K127 every result of an agent or a tool names its thread, where it is stored and where it is sent', async (t) => {
  const places = await Promise.all(['k127-anna', 'k127-anna', 'k127-ben'].map(openIn))

  const completed = await Promise.all(places.map(({ socket }) => socket.chat('whose is it?', { agent: 'observer' })))

  for (const [nth, { user, thread, socket }] of places.entries()) {
    const runId = completed[nth]?.run_id
    const results = socket.runEvents.filter(({ type }) => type === 'tool_completed' || type === 'agent_completed')
    t.match(results, [{ type: 'tool_completed', payload: { result: { thread } } }, { type: 'agent_completed', payload: { content: 'whose is it? seen' } }])
    const { messages, runs, events } = await readThread(storage, user, thread)
    const answers = (await (await httpClient(server, user))('GET', `/v1/threads/${thread}/messages`)).body as { messages: typeof messages }
    for (const result of [...results, ...events, ...messages, ...answers.messages]) t.match(result, { thread_id: thread, run_id: runId })
    t.match(runs, [{ threadId: thread, runId }])
    t.equal(messages.filter(({ role }) => role === 'assistant').length, 1)
  }
})

t.test('K128 while one thread of a user is cleaned up, run, session, sockets and all, another one\'s context and events stay whole', async (t) => {
  const user = 'k128-anna'
  const [one, two] = [await openIn(user), await openIn(user)]
  await untilSessions(engine, 0)
  const slowRun = await two.socket.ask({ type: 'user_message', payload: { content: 'two', agent: 'gated' } })
  await gated.arrived.next((content) => content === 'two')
  const waiting = await two.socket.ask({ type: 'user_message', payload: { content: 'two goes on', agent: 'observer' } })

  await one.socket.chat('one ends', { agent: 'slow' })
  const stopped = await one.socket.ask({ type: 'user_message', payload: { content: 'one is stopped', agent: 'gated' } })
  await gated.arrived.next((content) => content === 'one is stopped')
  await one.socket.ask({ type: 'delete_thread', payload: { thread_id: one.thread } })
  await one.socket.close()
  await untilSessions(engine, 1)
  gated.open('two')
  await two.socket.until('agent_completed', ({ run_id: id }) => id === waiting.run_id)

  const runs = [slowRun.run_id ?? '', waiting.run_id ?? '']
  t.same(strangers(await two.socket.settled(), { user, threads: [two.thread], runs }), [])
  const seen = observing.seen.filter(({ content }) => content === 'two goes on').map(({ identity }) => `${identity.userId} ${identity.threadId} ${identity.runId}`)
  t.same(new Set(seen), new Set([`${user} ${two.thread} ${waiting.run_id}`]))
  const { events, messages } = await readThread(storage, user, two.thread)
  t.strictSame(two.socket.runEvents.map(({ event_id: id }) => id), events.map(({ event_id: id }) => id), 'every event, once')
  t.strictSame(events.map(({ sequence }) => sequence), events.map((_event, nth) => nth + 1))
  t.same(messages.map(({ content }) => content), ['two', 'two', 'two goes on', 'two goes on seen'])
  t.match(two.socket.ofType('agent_completed').map(({ payload }) => payload.status), ['completed', 'completed'])
  t.match(one.socket.ofType('agent_completed').at(-1), { run_id: stopped.run_id, payload: { status: 'cancelled' } }, 'the other one is over')
  t.equal(server.violations.length, 0)
})
