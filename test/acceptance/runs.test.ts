import t, { type Test } from 'tap'
import { Type } from 'typebox'
import { defineAgent } from '../../lib/agents/define-agent.ts'
import { RunStopped } from '../../lib/engine/run-outcome.ts'
import type { ServerEvent } from '../../lib/protocol/events.ts'
import { threadOfRun, toRunId, toThreadId, type ThreadId } from '../../lib/protocol/ids.ts'
import { checkRunEvents } from '../../lib/protocol/run-rules.ts'
import { defineTool } from '../../lib/tools/define-tool.ts'
import { createArrivals } from '../support/arrivals.ts'
import { createHaltingAgent } from '../support/halting-agent.ts'
import { httpClient } from '../support/http-client.ts'
import { untilSessions } from '../support/run-end.ts'
import { createScriptedModel } from '../support/scripted-model.ts'
import { startServer } from '../support/start-server.ts'
import { asUser, readThread } from '../support/stored-thread.ts'
import type { TestSocket } from '../support/test-socket.ts'

// One server for all cases. Users are named after what they do.

const { agent: halting, halted } = createHaltingAgent()
const asked = createScriptedModel('asked')
const unanswered = createScriptedModel('unanswered', { heedless: true })

interface ToolAtWork { readonly signal: AbortSignal, readonly finish: (result: string) => void }
const atWork = createArrivals<ToolAtWork>()
const heedless = defineTool({
  name: 'heedless',
  description: 'Ends when the test says so, whatever its signal says',
  input: Type.Object({}),
  execute: (_input, { signal }) => new Promise((resolve) => { atWork.push({ signal, finish: resolve }) })
})

const server = await startServer(t, {
  agents: [
    halting,
    defineAgent({
      name: 'worker',
      tools: [heedless],
      async * run ({ callTool }) { yield { type: 'text', text: JSON.stringify(await callTool('heedless', {})) } }
    }),
    defineAgent({ name: 'asking', model: 'asked', instructions: '', limits: { stepTimeoutMs: 60_000 } }),
    defineAgent({ name: 'waiting', model: 'unanswered', instructions: '' }),
    defineAgent({ name: 'impatient', model: 'unanswered', instructions: '', limits: { stepTimeoutMs: 1 } })
  ],
  models: { asked: asked.model, unanswered: unanswered.model },
  env: { STEP_TIMEOUT_MS: 150, MAX_WAITING_RUNS_PER_THREAD: 3, MAX_CONCURRENT_RUNS: 64 }
})
const { storage, engine } = server.app

interface Chat { readonly user: string, readonly thread: ThreadId, readonly socket: TestSocket }

async function openChat (user: string): Promise<Chat> {
  const thread = await server.thread(user)
  return { user, thread, socket: await server.connect(user, { thread }) }
}

type Strategy = 'reject' | 'enqueue' | 'interrupt' | 'rollback'

async function say (socket: TestSocket, content: string, strategy: Strategy = 'enqueue', more: object = {}): Promise<ServerEvent> {
  return await socket.ask({ type: 'user_message', payload: { content, agent: 'halting', multitask_strategy: strategy, ...more } })
}

const haltedAt = (content: string) => halted.next((run) => run.content === content)

async function endOf (socket: TestSocket, accepted: ServerEvent): Promise<ServerEvent<'agent_completed'>> {
  return await socket.until('agent_completed', (event) => event.run_id === accepted.run_id)
}

/** The visible branch, as its user reads it. */
async function historyOf ({ user, thread }: Chat): Promise<readonly string[]> {
  return (await readThread(storage, user, thread)).messages.map(({ role, content }) => `${role} ${content}`)
}

/** Sequences without a gap, each run by its rules with one end, and every tab has received the same. */
async function checkStory (t: Test, { user, thread }: Chat, tabs: readonly TestSocket[]): Promise<void> {
  const { events, runs } = await readThread(storage, user, thread)
  t.same(events.map(({ sequence }) => sequence), events.map((_event, index) => index + 1))
  for (const run of runs) {
    const told = events.filter((event) => event.run_id === run.runId)
    t.same(checkRunEvents(told).filter(({ rule }) => rule !== 'missing'), [], run.input)
    t.equal(told.filter(({ type }) => type === 'agent_completed').length, 1, run.input)
  }
  for (const tab of tabs) {
    await tab.settled()
    t.same(tab.runEvents.map((event) => event.event_id), events.map((event) => event.event_id))
  }
}

t.test('reject: a message is refused while a run is unfinished, and nothing of it is stored', async (t) => {
  // kill: no `p_strategy = 'reject'` in lib/storage/migrations/0007-message-tree-accept.ts
  const chat = await openChat('reject')
  const first = await say(chat.socket, 'first')
  const run = await haltedAt('first')

  const refused = await say(chat.socket, 'second', 'reject')
  const stored = await readThread(storage, chat.user, chat.thread)
  run.goOn()
  await endOf(chat.socket, first)
  const accepted = await say(chat.socket, 'third', 'reject')
  const third = await haltedAt('third')
  third.goOn()

  t.match(refused, { type: 'error', payload: { code: 'THREADLINE_THREAD_BUSY', retryable: true } })
  t.same([stored.messages.length, stored.runs.length], [1, 1])
  t.match(await endOf(chat.socket, accepted), { payload: { status: 'completed' } }, 'nothing is unfinished any more')
  await checkStory(t, chat, [chat.socket])
})

t.test('enqueue: messages wait for their turn and are told their place, up to a bound, and their answers follow in order', async (t) => {
  const chat = await openChat('enqueue')
  const contents = ['first', 'second', 'third', 'fourth']

  const accepted: ServerEvent[] = []
  for (const content of contents) accepted.push(await say(chat.socket, content))
  const refused = await say(chat.socket, 'one too many')
  for (const content of contents) {
    const run = await haltedAt(content)
    t.same(run.history.at(-1), content === 'first' ? undefined : { role: 'assistant', content: `${contents[contents.indexOf(content) - 1]}: so far, and the rest` })
    run.goOn()
  }
  for (const event of accepted) t.match(await endOf(chat.socket, event), { payload: { status: 'completed' } })

  t.match(refused, { type: 'error', payload: { code: 'THREADLINE_QUEUE_FULL', retryable: true } })
  t.same(chat.socket.ofType('run_queued').map(({ payload }) => payload), [1, 2, 3].map((position) => ({ run_id: accepted[position]?.run_id, position })))
  t.same(await historyOf(chat), contents.flatMap((content) => [`user ${content}`, `assistant ${content}: so far, and the rest`]))
  t.same(chat.socket.ofType('agent_started').map((event) => event.run_id), accepted.map((event) => event.run_id))
  t.match(await say(chat.socket, 'now'), { type: 'message_accepted' }, 'there is room again')
  const last = await haltedAt('now')
  last.goOn()
  await chat.socket.until('agent_completed', ({ payload }) => payload.content?.startsWith('now') === true)
  await checkStory(t, chat, [chat.socket])
})

t.test('interrupt: the running one ends as cancelled and its partial answer is kept, what waited ends as well, and the new one follows', async (t) => {
  const chat = await openChat('interrupt')
  const running = await say(chat.socket, 'first')
  const run = await haltedAt('first')
  const waiting = await say(chat.socket, 'second')

  const accepted = await say(chat.socket, 'third', 'interrupt')
  const third = await haltedAt('third')
  third.goOn()
  const ended = await endOf(chat.socket, accepted)

  t.match(await endOf(chat.socket, running), { payload: { status: 'cancelled', reason: 'interrupted', content: 'first: so far', error: { code: 'THREADLINE_CANCELLED' } } })
  t.match(await endOf(chat.socket, waiting), { payload: { status: 'cancelled', reason: 'interrupted' } })
  t.match(run.signal.reason, { code: 'THREADLINE_CANCELLED', stopReason: 'interrupted' })
  t.match(ended.payload, { status: 'completed' })
  t.same(await historyOf(chat), ['user first', 'assistant first: so far', 'user second', 'user third', 'assistant third: so far, and the rest'])
  t.same(third.history.map(({ content }) => content), ['first', 'first: so far', 'second'])
  await checkStory(t, chat, [chat.socket])
})

t.test('rollback: the unfinished ones end as cancelled, their messages are removed, and the new one knows nothing of them', async (t) => {
  // kill: no `reason === rolledBack` in lib/engine/execute-run.ts, and no `event.rolled_back` in lib/storage/migrations/0007-message-tree-end.ts
  const chat = await openChat('rollback')
  const kept = await say(chat.socket, 'kept')
  const keptRun = await haltedAt('kept')
  keptRun.goOn()
  await endOf(chat.socket, kept)
  const running = await say(chat.socket, 'first')
  await haltedAt('first')
  const waiting = await say(chat.socket, 'second')

  const accepted = await say(chat.socket, 'third', 'rollback')
  const third = await haltedAt('third')
  third.goOn()
  await endOf(chat.socket, accepted)

  const ends = [await endOf(chat.socket, running), await endOf(chat.socket, waiting)]
  for (const end of ends) {
    t.match(end, { payload: { status: 'cancelled', reason: 'rolled_back', error: { code: 'THREADLINE_CANCELLED' } } })
    t.notOk('content' in end.payload || 'message_id' in end.payload)
  }
  t.same(await historyOf(chat), ['user kept', 'assistant kept: so far, and the rest', 'user third', 'assistant third: so far, and the rest'])
  t.same(third.history.map(({ content }) => content), ['kept', 'kept: so far, and the rest'])
  const started = await chat.socket.until('agent_started', (event) => event.run_id === accepted.run_id)
  t.ok(ends.every((end) => (end.sequence ?? 0) < (started.sequence ?? 0)), 'it begins when they have ended')
  const { runs, events } = await readThread(storage, chat.user, chat.thread)
  t.same(runs.map(({ input, status }) => [input, status]), [['third', 'completed'], ['second', 'cancelled'], ['first', 'cancelled'], ['kept', 'completed']])
  t.ok(events.some((event) => event.run_id === running.run_id && event.type === 'agent_delta'), 'the log keeps what was told')
  await checkStory(t, chat, [chat.socket])
})

t.test('interrupt and rollback from two tabs at the same moment: each run ends exactly once, and the last message is answered', async (t) => {
  const strategies = ['interrupt', 'rollback'] as const
  for (const [round, [left, right]] of strategies.flatMap((one) => strategies.map((other) => [one, other] as const)).entries()) {
    const chat = await openChat(`both-${round}`)
    const other = await server.connect(chat.user, { thread: chat.thread })
    await say(chat.socket, 'running')
    await haltedAt('running')
    await say(chat.socket, 'waiting')

    for (const content of ['left', 'right']) void haltedAt(content).then((run) => { run.goOn() })
    const accepted = await Promise.all([say(chat.socket, 'left', left), say(other, 'right', right)])
    for (const event of accepted) await endOf(chat.socket, event)
    await untilSessions(engine, 0)

    const { runs, messages, events } = await readThread(storage, chat.user, chat.thread)
    t.equal(runs.length, 4, `${left} and ${right}`)
    t.equal(runs[0]?.status, 'completed')
    const rolledBack = events.filter(({ payload }) => 'reason' in payload && payload.reason === 'rolled_back').map((event) => event.run_id)
    t.same(new Set(messages.filter(({ role }) => role === 'user').map((message) => message.run_id)),
      new Set(runs.map(({ runId }) => runId).filter((runId) => !rolledBack.includes(runId))), 'what was not rolled back is still there')
    await checkStory(t, chat, [chat.socket, other])
  }
  t.same({ ...engine.load }, { sessions: 0, runs: 0, slotsTaken: 0, waiting: 0 })
})

t.test('a message that is sent again finds its run: while it runs, after it ended, and after it was rolled back', async (t) => {
  const chat = await openChat('again')
  const send = (content: string, strategy?: Strategy) =>
    chat.socket.ask({ type: 'user_message', id: `again-${content}`, payload: { content, agent: 'halting', ...(strategy === undefined ? {} : { multitask_strategy: strategy }) } })

  const first = await send('first')
  const run = await haltedAt('first')
  const whileRunning = await send('first', 'interrupt')
  const stillRunning = run.signal.aborted
  run.goOn()
  const completed = await endOf(chat.socket, first)
  const afterwards = await send('first', 'reject')
  const second = await send('second')
  await haltedAt('second')
  const third = await send('third', 'rollback')
  const thirdRun = await haltedAt('third')
  const rolledBack = await send('second')
  thirdRun.goOn()
  await endOf(chat.socket, third)
  const muchLater = await send('second')

  t.equal(stillRunning, false, 'sent again, it interrupts nothing')
  t.match(completed.payload, { status: 'completed' })
  for (const [event, again] of [[first, whileRunning], [first, afterwards], [second, rolledBack], [second, muchLater]] as const) {
    t.match(again, { type: 'message_accepted', run_id: event.run_id, payload: { ...event.payload, duplicate: true } })
  }
  const { runs } = await readThread(storage, chat.user, chat.thread)
  t.equal(runs.length, 3)
  t.same(await historyOf(chat), ['first', 'third'].flatMap((content) => [`user ${content}`, `assistant ${content}: so far, and the rest`]))
  t.same(halted.waiting, [], 'nothing was run again')
  await checkStory(t, chat, [chat.socket])
})

for (const way of ['a socket', 'HTTP']) {
  t.test(`E71 a run that is stopped over ${way} reaches its model and its tool by their signals, and ends at once, whatever they do`, async (t) => {
    // kill, each alone: no `task.signal` in the signal of `callModel` of lib/engine/run-model-agent.ts, no `options.signal` in `limited` of lib/tools/perform-tool.ts
    const user = way === 'HTTP' ? 'stopping-by-request' : 'stopping'
    const [chat, other] = [await openChat(user), await openChat(`${user}-other`)]
    const request = await httpClient(server, user)
    const stop = async (path: string, payload: { run_id?: string | undefined }): Promise<void> => {
      if (way === 'HTTP') t.match(await request('POST', path), { status: 202, body: { run_ids: [String] } })
      else await chat.socket.ask({ type: 'stop_agent', payload })
    }
    const bystander = await say(other.socket, `bystander of ${user}`)
    const bystanding = await haltedAt(`bystander of ${user}`)

    const modelRun = await say(chat.socket, 'ask', 'enqueue', { agent: 'asking' })
    const call = await asked.calls.next()
    await stop(`/v1/runs/${modelRun.run_id}/cancel`, { run_id: modelRun.run_id })
    const modelEnd = await endOf(chat.socket, modelRun)
    const toolRun = await say(chat.socket, 'work', 'enqueue', { agent: 'worker' })
    const work = await atWork.next()
    await stop(`/v1/threads/${chat.thread}/cancel`, {})
    const toolEnd = await endOf(chat.socket, toolRun)
    work.finish('too late')

    for (const end of [modelEnd, toolEnd]) t.match(end.payload, { status: 'cancelled', reason: 'cancelled', error: { code: 'THREADLINE_CANCELLED' } })
    for (const reason of [call.options.abortSignal?.reason, work.signal.reason]) t.match(reason, new RunStopped('cancelled'))
    t.match(chat.socket.ofType('tool_completed'), [{ payload: { success: false, error: { code: 'THREADLINE_CANCELLED' } } }])
    t.match(chat.socket.runEvents.slice(-2), [{ type: 'tool_completed' }, { type: 'agent_completed' }], 'nobody reads what it found')
    t.notOk(bystanding.signal.aborted)
    bystanding.goOn()
    t.match(await endOf(other.socket, bystander), { payload: { status: 'completed' } })
    await checkStory(t, chat, [chat.socket])
    t.notOk(JSON.stringify(await readThread(storage, chat.user, chat.thread)).includes('too late'), 'what a tool brings too late is discarded')
  })
}

t.test('F80 a single model call that takes too long ends its run as timed out, and says that it was the step', async (t) => {
  // kill: no `ended.signal` in the signal of `callModel` of lib/engine/run-model-agent.ts
  const chat = await openChat('impatient')

  for (const agent of ['impatient', 'waiting']) { // one has a limit of its own, the other the server's
    const accepted = await say(chat.socket, agent, 'enqueue', { agent })
    const call = await unanswered.calls.next()
    const ended = await endOf(chat.socket, accepted)
    t.match(ended.payload, { status: 'timed_out', reason: 'step_timed_out', error: { code: 'THREADLINE_TIMED_OUT', retryable: true } }, agent)
    t.match(call.options.abortSignal?.reason, { stopReason: 'step_timed_out' })
  }

  const answering = await say(chat.socket, 'ask', 'enqueue', { agent: 'asking' })
  const call = await asked.calls.next()
  call.say('in time')
  t.match(await endOf(chat.socket, answering), { payload: { status: 'completed', content: 'in time' } })
  await checkStory(t, chat, [chat.socket])
})

t.test('the end of a run names the model that answered, and what it has cost, and both are on the user\'s account', async (t) => {
  const chat = await openChat('paying')

  const accepted = await say(chat.socket, 'ask', 'enqueue', { agent: 'asking' })
  const call = await asked.calls.next()
  call.say('seven and three')
  const ended = await endOf(chat.socket, accepted)

  t.match(ended.payload.usage, { input_tokens: 7, output_tokens: 3, model: 'asked-2026' })
  t.same(await asUser(chat.user, async () => (await storage.account.usage()).models), [{ model: 'asked-2026', inputTokens: 7, outputTokens: 3 }])
})

t.test('I115 I118 K130 fifty runs at once are each in the registry under their own thread, and none is when they have ended', async (t) => {
  // kill: no `registry.unregister` in `execute` of lib/engine/thread-loops.ts
  const sockets = await Promise.all(Array.from({ length: 50 }, (_, index) => server.connect(`fifty-${index % 5}`)))
  const accepted = await Promise.all(sockets.map((socket, index) => say(socket, `fifty ${index}`)))
  const runs = await Promise.all(accepted.map((_event, index) => haltedAt(`fifty ${index}`)))
  const load = { ...engine.load }

  const stopping = await sockets[7]?.ask({ type: 'stop_agent', payload: {} })
  await Promise.all(runs.map(async (run, index) => {
    if (index !== 7) run.goOn()
    await sockets[index]?.until('agent_completed')
  }))
  await untilSessions(engine, 0)

  t.same(load, { sessions: 50, runs: 50, slotsTaken: 50, waiting: 0 })
  t.same(stopping?.payload, { run_ids: [accepted[7]?.run_id] })
  t.same(runs.flatMap(({ signal }, index) => signal.aborted ? [index] : []), [7], 'of all those runs one was stopped')
  t.equal(new Set(accepted.map((event) => threadOfRun(toRunId(event.run_id)))).size, 50)
  t.ok(accepted.every((event) => threadOfRun(toRunId(event.run_id)) === toThreadId(event.thread_id)))
  t.same({ ...engine.load }, { sessions: 0, runs: 0, slotsTaken: 0, waiting: 0 })
  t.equal(server.violations.length, 0)
})
