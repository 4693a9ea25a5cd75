import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { defineAgent } from '../../lib/agents/define-agent.ts'
import { currentThread } from '../../lib/context/current-thread.ts'
import { redacted } from '../../lib/emitter/redact.ts'
import { ThreadlineError } from '../../lib/errors.ts'
import { isCommandType } from '../../lib/protocol/commands.ts'
import {
  eventSchemas, eventTypes, runEventTypes, type RunEventType, type ServerEvent, type ThreadEvent
} from '../../lib/protocol/events.ts'
import { isRequestId, isRunId, toRunId, type RunId, type ThreadId } from '../../lib/protocol/ids.ts'
import { checkRunEvents } from '../../lib/protocol/run-rules.ts'
import type { AppendedEvent } from '../../lib/stores/event-store.ts'
import type { Storage } from '../../lib/stores/storage.ts'
import { defineTool } from '../../lib/tools/define-tool.ts'
import { assembleServer } from '../support/assembled-server.ts'
import { fewerNodes } from '../support/fewer-nodes.ts'
import { createGatedAgent } from '../support/gated-agent.ts'
import { createOddValues } from '../support/odd-values.ts'
import { endOfRun, untilSessions } from '../support/run-end.ts'
import { createSecrets } from '../support/secrets.ts'
import { eventsOfRun, startServer, type TestServer } from '../support/start-server.ts'
import { asUser, readThread } from '../support/stored-thread.ts'
import { strangers } from '../support/strangers.ts'
import type { TestSocket } from '../support/test-socket.ts'
import { createWaywardAgents } from '../support/wayward-agents.ts'

// One server for all but the last cases. Users are named after their case.

const anything = Type.Object({})
const gated = createGatedAgent()
const wayward = createWaywardAgents(3_000)
const { inside } = wayward

const look = defineTool({
  name: 'look',
  description: 'Looks a topic up',
  input: Type.Object({ topic: Type.String() }),
  execute: ({ topic }) => ({ topic, thread: currentThread().threadId })
})

const broken = defineTool({ name: 'broken', description: 'Fails', input: anything, execute: () => { throw new Error(inside) } })
const stuck = defineTool({ name: 'stuck', description: 'Heeds nothing', input: anything, timeoutMs: 20, execute: () => new Promise<never>(() => {}) })
const denied = defineTool({ name: 'denied', description: 'Not for you', input: anything, permit: () => false, execute: () => 'done' })

const failedOnce = new Set<string>()
const moody = defineTool({
  name: 'moody',
  description: 'Fails the first time in a thread that asks for it',
  input: Type.Object({ fail: Type.Boolean() }),
  execute: ({ fail }) => {
    const { threadId } = currentThread()
    if (!fail || failedOnce.has(threadId)) return 'better now'
    failedOnce.add(threadId)
    throw new Error(inside)
  }
})

const idempotencyKeys: string[] = []
const pay = defineTool({
  name: 'pay',
  description: 'Must not be done twice',
  input: anything,
  execute: (_input, { idempotencyKey }) => { idempotencyKeys.push(idempotencyKey) }
})

const tools = [look, broken, stuck, denied, moody, pay]

/** Calls what `calls` of the message's metadata says, and answers with what came of it. */
const caller = defineAgent({
  name: 'caller',
  tools,
  async * run ({ context, callTool }) {
    const outcomes: unknown[] = []
    for (const { name, input } of context['calls'] as { name: string, input: unknown }[]) outcomes.push(await callTool(name, input))
    yield { type: 'text', text: JSON.stringify(outcomes) }
  }
})
const talker = defineAgent({ name: 'talker', model: 'local', instructions: 'Use the tools.', tools })
const line = defineAgent({ name: 'line', steps: [{ agent: caller }, { agent: caller }] })

const calling = (...calls: readonly { name: string, input: unknown }[]) => ({ metadata: { calls } })
const lookUp = { name: 'look', input: { topic: 'bees' } }

/** Calls tools with parameters, and returns results, that JSON cannot say. */
const odd = createOddValues()
const take = defineTool({
  name: 'take',
  description: 'Gives back an odd value',
  input: Type.Object({ name: Type.String(), value: Type.Optional(Type.Unknown()) }),
  execute: ({ name }) => odd.get(name)?.value
})
const collector = defineAgent({
  name: 'collector',
  tools: [take],
  async * run ({ callTool }) {
    const outcomes: unknown[] = []
    for (const [name, { value }] of odd) outcomes.push((await callTool('take', { name, value })).success)
    yield { type: 'text', text: JSON.stringify(outcomes) }
  }
})

/** What came of a call that was made after its agent had ended. */
const late = Promise.withResolvers<unknown>()
/** Leaves its calls alone, one of them until after its end. */
const careless = defineAgent({
  name: 'careless',
  tools,
  async * run ({ callTool }) {
    void callTool('look', { topic: 'bees' })
    yield { type: 'text', text: 'done' }
    setImmediate(() => {
      void callTool('broken', {})
      callTool('stuck', {}).then(late.resolve, late.resolve)
    })
  }
})

const secrets = createSecrets()
const taken: unknown[] = []
const login = defineTool({
  name: 'login',
  description: 'Takes secrets, and gives some back',
  input: anything,
  execute: (input) => {
    taken.push(input)
    return { ok: true, session_token: secrets.one(), user: { name: 'anna', credentials: [secrets.one()] } }
  }
})
const secretive = defineAgent({
  name: 'secretive',
  tools: [login],
  async * run ({ callTool }) {
    const { success } = await callTool('login', secrets.parameters)
    yield { type: 'text', text: `login ${String(success)}` }
  }
})

/** Talks until a test is content with what has come of it. */
const listeners = new Map<string, () => boolean>()
const chatty = defineAgent({
  name: 'chatty',
  limits: { runTimeoutMs: 20_000 },
  async * run ({ content }) {
    while (listeners.get(content)?.() !== true) {
      await turn()
      yield { type: 'thinking', message: 'Still here' }
    }
    yield { type: 'text', text: 'content' }
  }
})

const server = await startServer(t, {
  agents: [caller, talker, line, careless, gated.agent, collector, secretive, chatty, ...wayward.failing, ...wayward.endless],
  models: wayward.models
})
const { storage, engine, gateway } = server.app

/** A server that executes one run at a time. */
const narrow = await startServer(t, {
  agents: [caller, gated.agent, ...wayward.endless], models: wayward.models, env: { MAX_CONCURRENT_RUNS: 1 }, only: fewerNodes.slots
})

interface Chat { readonly user: string, readonly thread: ThreadId, readonly socket: TestSocket }

async function openChat (user: string, on: TestServer = server): Promise<Chat> {
  const thread = await on.thread(user)
  return { user, thread, socket: await on.connect(user, { thread }) }
}

type Accepted = ServerEvent & { readonly run_id: RunId }

/** Starts a run, and resolves as soon as its message is accepted. */
async function start ({ socket }: Chat, agent: string, more: Record<string, unknown> = {}): Promise<Accepted> {
  const accepted = await socket.ask({ type: 'user_message', payload: { content: 'go on', agent, ...more } })
  return { ...accepted, run_id: toRunId(accepted.run_id) }
}

/** One run of a chat, from its message to its end: what the socket received, which is also what is stored. */
async function tell (t: Test, chat: Chat, agent: string, more: Record<string, unknown> = {}): Promise<readonly ThreadEvent[]> {
  const { run_id: runId } = await start(chat, agent, more)
  return await told(t, chat, runId)
}

async function told (t: Test, { user, thread, socket }: Chat, runId: RunId): Promise<readonly ThreadEvent[]> {
  await socket.until('agent_completed', (event) => event.run_id === runId)
  await socket.settled()
  const received = eventsOfRun(socket.runEvents, runId) as readonly ThreadEvent[] // with a sequence, as is found below
  const { events } = await readThread(storage, user, thread)
  t.same(received, events.filter((event) => event.run_id === runId), 'the socket received what is stored, each event once and in order')
  t.same(strangers(socket.events, { user, threads: [thread], runs: runsOf(socket) }), [])
  return received
}

const runsOf = (socket: TestSocket): readonly string[] => socket.ofType('message_accepted').map(({ payload }) => payload.run_id)

/** The types of events, with those in a row that are the same as one. */
const typesOf = (events: readonly ServerEvent[]): readonly string[] => {
  return events.map(({ type }) => type).filter((type, nth, all) => type !== all[nth - 1])
}
const toolEvents = (events: readonly ServerEvent[]) => events.filter((event): event is ThreadEvent<'tool_executing' | 'tool_completed'> => {
  return event.type === 'tool_executing' || event.type === 'tool_completed'
})
const ofType = <Name extends RunEventType> (events: readonly ServerEvent[], type: Name) => {
  return events.filter((event): event is ThreadEvent<Name> => event.type === type)
}

t.test('F73 F74 a run with one tool tells the five events: the start first, the tool\'s pair in order, the end last', async (t) => {
  const chat = await openChat('f73-anna')

  const inCode = await tell(t, chat, 'caller', calling(lookUp))
  const ofModel = await tell(t, chat, 'talker', { content: '/look {"topic":"bees"}' })
  const inSteps = await tell(t, chat, 'line', calling(lookUp))

  t.same(typesOf(inCode), ['agent_started', 'agent_thinking', 'tool_executing', 'tool_completed', 'agent_delta', 'agent_completed'])
  t.same(typesOf(ofModel), [
    'agent_started', 'agent_thinking', 'tool_executing', 'tool_completed', 'agent_thinking', 'agent_delta', 'agent_completed'
  ])
  t.same(typesOf(inSteps), [
    'agent_started', 'agent_thinking', 'tool_executing', 'tool_completed', 'agent_delta', 'agent_thinking', 'tool_executing', 'tool_completed',
    'agent_delta', 'agent_completed'
  ])
  for (const events of [inCode, ofModel, inSteps]) {
    t.same(checkRunEvents(events, { usesTools: true }), [])
    const [executing, completed] = toolEvents(events)
    t.match(executing?.payload, { tool: 'look', parameters: { topic: 'bees' } })
    t.match(completed?.payload, { tool: 'look', success: true, result: { topic: 'bees', thread: chat.thread } })
    t.equal(completed?.payload.tool_call_id, executing?.payload.tool_call_id)
    t.match(events.at(-1)?.payload, { status: 'completed' })
  }
  const text = ofType(inCode, 'agent_delta').map(({ payload }) => payload.text).join('')
  t.equal(text, ofType(inCode, 'agent_completed')[0]?.payload.content, 'the deltas together are the answer')
  t.equal(server.violations.length, 0)
})

t.test('F75 each event of a run has type, id, sequence, time, user, thread, run and request, and keeps to its schema', async (t) => {
  const chat = await openChat('f75-anna')
  const schemas = new Map(Object.entries(eventSchemas).map(([type, schema]) => [type, Compile(schema)]))
  const runs = [
    await start(chat, 'caller', calling(lookUp, { name: 'broken', input: {} }, { name: 'unknown', input: {} })),
    await start(chat, 'talker', { content: '/look {"topic":"bees"} then /broken {} then /fail' }),
    await start(chat, 'line', calling(lookUp)),
    await start(chat, 'fails-late')
  ]

  const events = (await Promise.all(runs.map(async ({ run_id: runId }) => await told(t, chat, runId)))).flat()

  const here = runEventTypes.filter((type) => type !== 'agent_resumed') // no process has died
  t.ok(here.every((type) => events.some((event) => event.type === type)), 'all types were told')
  for (const event of events) {
    const run = runs.find(({ run_id: runId }) => runId === event.run_id)
    t.match(event, { user_id: chat.user, thread_id: chat.thread, request_id: run?.request_id, epoch: storage.epoch })
    t.ok(isRunId(event.run_id) && isRequestId(event.request_id))
    t.ok(Number.isInteger(event.sequence) && event.sequence > 0)
    t.equal(new Date(event.timestamp).toISOString(), event.timestamp)
    t.same(schemas.get(event.type)?.Errors(event), [], event.type)
  }
  t.equal(server.violations.length, 0)
})

t.test('F75 each call of a tool has an id and an idempotency key that no other call of its run has', async (t) => {
  const chat = await openChat('f75-ben')
  const twice = calling({ name: 'pay', input: {} }, { name: 'pay', input: {} })

  const events = await tell(t, chat, 'line', twice)

  const ids = ofType(events, 'tool_executing').map(({ payload }) => payload.tool_call_id)
  t.equal(new Set(ids).size, 4, 'two steps that both pay twice')
  t.equal(idempotencyKeys.length, 4)
  t.equal(new Set(idempotencyKeys).size, 4)
})

t.test('F76 no two events have the same id, and sequences rise by one within each thread', async (t) => {
  const chats = await Promise.all(['f76-anna', 'f76-anna', 'f76-ben', 'f76-carol'].map((user) => openChat(user)))

  const runs = await Promise.all(chats.flatMap((chat) => ['caller', 'talker', 'line'].map(async (agent) => {
    return { chat, runId: (await start(chat, agent, { content: 'look at bees', ...calling(lookUp) })).run_id }
  })))
  await Promise.all(runs.map(({ chat, runId }) => told(t, chat, runId)))

  for (const { socket } of chats) {
    t.same(socket.runEvents.map(({ sequence }) => sequence), socket.runEvents.map((_, nth) => nth + 1))
  }
  const ids = chats.flatMap(({ socket }) => socket.events.map((event) => event.event_id))
  t.equal(new Set(ids).size, ids.length)
  t.equal(server.violations.length, 0)
})

t.test('F77 an end before the start, and a tool that completes without executing, are violations of the run\'s rules', async (t) => {
  const events = await tell(t, await openChat('f77-anna'), 'caller', calling(lookUp))
  const started = events.filter(({ type }) => type === 'agent_started')
  const ended = events.filter(({ type }) => type === 'agent_completed')
  const between = events.slice(1, -1)

  const endFirst = checkRunEvents([...ended, ...started, ...between], { usesTools: true })
  const withoutExecuting = checkRunEvents(events.filter(({ type }) => type !== 'tool_executing'), { usesTools: true })
  const completedTwice = checkRunEvents(events.flatMap((event) => event.type === 'tool_completed' ? [event, event] : [event]))
  const afterwards = checkRunEvents([...events, ...ended])

  t.same(checkRunEvents(events, { usesTools: true }), [], 'the run as it was recorded breaks none')
  t.match(endFirst, [{ rule: 'before-start', type: 'agent_completed', critical: true }])
  t.match(withoutExecuting[0], { rule: 'tool-not-executing', type: 'tool_completed' })
  t.same(completedTwice, [{ rule: 'tool-not-executing', type: 'tool_completed', critical: false }])
  t.same(afterwards, [{ rule: 'after-completion', type: 'agent_completed', critical: true }])
})

t.test('F78 of a recorded run that lacks a required event, that type is named, and a missing end is critical', async (t) => {
  const events = await tell(t, await openChat('f78-anna'), 'caller', calling(lookUp))
  const required = ['agent_started', 'agent_thinking', 'tool_executing', 'tool_completed', 'agent_completed'] as const

  for (const lacking of required) {
    const missing = checkRunEvents(events.filter(({ type }) => type !== lacking), { usesTools: true }).filter(({ rule }) => rule === 'missing')
    t.same(missing, [{ rule: 'missing', type: lacking, critical: lacking === 'agent_completed' }])
  }
  t.same(checkRunEvents([], { usesTools: true }).map(({ type }) => type).toSorted(), required.toSorted())
})

t.test('F79 however an agent fails, one terminal event says so, and nothing of what it threw', async (t) => {
  const chat = await openChat('f79-anna')

  for (const { name } of wayward.failing) {
    const events = await tell(t, chat, name)
    const code = name === 'fails-in-its-model' ? 'THREADLINE_MODEL_FAILED' : 'THREADLINE_INTERNAL'

    t.same(checkRunEvents(events), [], name)
    const ends = ofType(events, 'agent_completed')
    t.equal(ends.length, 1)
    t.match(ends[0]?.payload, { status: 'failed', error: { code } })
    t.notOk(/"(status|success)":("completed"|true)/.test(JSON.stringify(events)), 'nothing says success')
    const [run] = (await readThread(storage, chat.user, chat.thread)).runs
    t.match(run, { runId: ends[0]?.run_id, status: 'failed', error: code })
  }
  const bytes = JSON.stringify([chat.socket.events, await readThread(storage, chat.user, chat.thread)])
  t.notOk(bytes.includes(inside))
  t.notOk(/\bat (async )?[\w.]+ \(|node:internal|\.ts:\d+/.test(bytes), 'no stack')
  t.ok(JSON.stringify(server.log).includes(inside), 'the log has it')
  t.match((await tell(t, chat, 'caller', calling(lookUp))).at(-1)?.payload, { status: 'completed' }, 'the thread goes on')
  t.equal(server.violations.length, 0)
})

t.test('F80 at its time limit every run ends as timed out, whether its agent heeds that or not', async (t) => {
  const chats = await Promise.all(wayward.endless.map(async ({ name }) => ({ name, ...await openChat('f80-anna') })))

  const runs = await Promise.all(chats.map(async (chat) => ({ chat, events: await tell(t, chat, chat.name) })))

  for (const { chat, events } of runs) {
    t.ok(wayward.heldUp.has(chat.name), `${chat.name} was in the middle of its work`)
    t.same(checkRunEvents(events), [], 'and its tools have completed')
    t.match(ofType(events, 'agent_completed').map(({ payload }) => payload), [
      { status: 'timed_out', reason: 'timed_out', error: { code: 'THREADLINE_TIMED_OUT' } }
    ])
    t.match((await readThread(storage, chat.user, chat.thread)).runs, [{ status: 'timed_out', error: 'THREADLINE_TIMED_OUT' }])
    t.match((await tell(t, chat, 'caller', calling(lookUp))).at(-1)?.payload, { status: 'completed' }, 'its thread goes on')
  }
  await untilSessions(engine, 0)
  t.same({ ...engine.load }, { sessions: 0, runs: 0, slotsTaken: 0, waiting: 0 })
  t.equal(server.violations.length, 0)
})

t.test('F80 a tool has a time limit of its own, after which the run goes on', async (t) => {
  const chat = await openChat('f80-ben')

  const events = await tell(t, chat, 'caller', calling({ name: 'stuck', input: {} }, lookUp))

  t.match(toolEvents(events).map(({ payload }) => payload), [
    { tool: 'stuck' }, { tool: 'stuck', success: false, error: { code: 'THREADLINE_TIMED_OUT' } }, { tool: 'look' }, { tool: 'look', success: true }
  ])
  t.match(events.at(-1)?.payload, { status: 'completed' })
  t.same(checkRunEvents(events, { usesTools: true }), [])
})

t.test('F81 an unknown, failing, denied or wrongly called tool is told as one pair, and the run goes on', async (t) => {
  const chat = await openChat('f81-anna')
  const calls = [
    [{ name: 'unknown', input: {} }, 'THREADLINE_TOOL_NOT_FOUND'],
    [{ name: 'broken', input: {} }, 'THREADLINE_TOOL_FAILED'],
    [{ name: 'denied', input: {} }, 'THREADLINE_TOOL_DENIED'],
    [{ name: 'look', input: { topic: 42 } }, 'THREADLINE_BAD_REQUEST'],
    [{ name: 'look', input: null }, 'THREADLINE_BAD_REQUEST']
  ] as const

  const inCode = await tell(t, chat, 'caller', calling(...calls.map(([call]) => call)))
  const ofModel = await tell(t, chat, 'talker', {
    content: calls.map(([{ name, input }]) => `/tool ${name} ${JSON.stringify(input ?? [])}`).slice(0, 4).join(' then ')
  })

  for (const [events, expected] of [[inCode, calls], [ofModel, calls.slice(0, 4)]] as const) {
    t.match(toolEvents(events).map(({ type, payload }) => ({ type, payload })), expected.flatMap(([{ name }, code]) => [
      { type: 'tool_executing', payload: { tool: name } },
      { type: 'tool_completed', payload: { tool: name, success: false, error: { code } } }
    ]))
    t.equal(toolEvents(events).length, expected.length * 2)
    t.same(checkRunEvents(events, { usesTools: true }), [])
    t.match(events.at(-1)?.payload, { status: 'completed' })
  }
  const outcomes = JSON.parse(ofType(inCode, 'agent_completed')[0]?.payload.content ?? '') as readonly unknown[]
  t.match(outcomes, calls.map(([, code]) => ({ success: false, error: { code } })), 'the caller was told')
  t.match(ofModel.at(-1)?.payload, { content: /unknown failed: .*broken failed: THREADLINE_TOOL_FAILED/ }, 'so was the model')
  t.notOk(JSON.stringify(chat.socket.events).includes(inside))
  t.equal(server.violations.length, 0)
})

t.test('F81 a call that its agent leaves alone is completed before the run ends, and none begins after that', async (t) => {
  const chat = await openChat('f81-ben')

  const events = await tell(t, chat, 'careless')

  t.match(await late.promise, { code: 'THREADLINE_CONFLICT' })
  t.same(toolEvents(events).map(({ type, payload }) => [type, payload.tool]), [['tool_executing', 'look'], ['tool_completed', 'look']])
  t.same(checkRunEvents(events, { usesTools: true }), [])
  t.match(events.at(-1)?.payload, { status: 'completed', content: 'done' })
})

t.test('F82 a tool\'s error in one thread hinders neither another thread nor a retry', async (t) => {
  const [first, second] = await Promise.all([openChat('f82-anna'), openChat('f82-anna')])
  const fails = { name: 'moody', input: { fail: true } }
  const works = { name: 'moody', input: { fail: false } }

  const [inFirst, inSecond] = await Promise.all([
    tell(t, first, 'caller', calling(fails, fails)), tell(t, second, 'caller', calling(works, lookUp))
  ])
  const later = await tell(t, first, 'caller', calling(fails))

  const successes = (events: readonly ThreadEvent[]) => ofType(events, 'tool_completed').map(({ payload }) => payload.success)
  t.same([successes(inFirst), successes(inSecond), successes(later)], [[false, true], [true, true], [true]])
  for (const events of [inFirst, inSecond, later]) t.match(events.at(-1)?.payload, { status: 'completed' })
  t.equal(server.violations.length, 0)
})

t.test('F83 secrets among a tool\'s parameters and results are redacted wherever they are shown, and long texts are cut', async (t) => {
  const chat = await openChat('f83-anna')
  const bystander = await server.connect('f83-anna', { thread: chat.thread })

  const events = await tell(t, chat, 'secretive')

  const [executing, completed] = toolEvents(events)
  const shown = executing?.payload as ServerEvent<'tool_executing'>['payload'] // the first of the pair
  const parameters = shown.parameters as Record<string, unknown> // the tool's parameters are an object
  t.same(taken, [secrets.parameters], 'the tool itself got them')
  t.match(parameters, { user: 'anna', max_tokens: 100, inside: { request: { headers: { Authorization: redacted, accept: 'text/plain' } } } })
  t.match(parameters['list'], [{ password: redacted }, { token: redacted }])
  t.ok(String(parameters['note']).length < 600, 'a long text is cut')
  t.match(parameters['note'], /^n{500}… \(5000 characters\)$/)
  for (const [name, value] of Object.entries(secrets.parameters)) {
    if (secrets.all.includes(String(value))) t.equal(parameters[name], redacted, name)
  }
  t.match(completed?.payload, { success: true, result: { ok: true, session_token: redacted, user: { name: 'anna', credentials: redacted } } })
  const stored = await readThread(storage, chat.user, chat.thread)
  const spans = server.spans.spans().map(({ name, attributes, events: noted }) => ({ name, attributes, noted }))
  const bytes = JSON.stringify([chat.socket.events, await bystander.settled(), stored, server.log, spans])
  t.ok(secrets.all.length > 25)
  t.same(secrets.all.filter((secret) => bytes.includes(secret)), [], 'on no socket, in no row, log line or span')
})

t.test('F88 whatever a tool is given or gives back, valid JSON arrives and nothing throws', async (t) => {
  const chat = await openChat('f88-anna')

  const events = await tell(t, chat, 'collector')

  const [executed, completed] = [ofType(events, 'tool_executing'), ofType(events, 'tool_completed')]
  for (const [nth, [name, { said }]] of [...odd].entries()) {
    const parameters = executed[nth]?.payload.parameters as { name?: unknown, value?: unknown } // the tool's parameters are an object
    const result = completed[nth]?.payload
    t.equal(parameters.name, name)
    t.equal(result?.success, true, name)
    if (said === undefined) continue
    t.strictSame(result?.result, said, `${name}, as a result`)
    t.strictSame(parameters.value ?? null, said, `${name}, as a parameter`)
  }
  t.same(checkRunEvents(events, { usesTools: true }), [])
  t.match(events.at(-1)?.payload, { status: 'completed', content: JSON.stringify(Array.from(odd, () => true)) })
  t.equal(server.violations.length, 0)
})

t.test('F89 a type that only the server sends starts nothing, whoever sends it', async (t) => {
  const chat = await openChat('f89-anna')
  const { socket } = chat
  const types = eventTypes.filter((type) => !isCommandType(type))

  const answers = []
  const payload = { agent: 'caller', input: 'hello', content: 'hello', status: 'completed' }
  for (const type of types) answers.push(await socket.ask({ type, payload }))

  t.ok(['agent_started', 'agent_completed', 'tool_executing', 'connection_established'].every((type) => types.includes(type as typeof types[number])))
  t.same(answers.map(({ type, payload }) => [type, (payload as { code?: string }).code]), types.map(() => ['error', 'THREADLINE_SERVER_ONLY_TYPE']))
  t.same(await readThread(storage, chat.user, chat.thread), { messages: [], runs: [], events: [] })
  t.same(socket.runEvents, [])
  t.match((await tell(t, chat, 'caller', calling(lookUp))).at(-1)?.payload, { status: 'completed' }, 'and the socket goes on')
})

t.test('F85 a run whose socket fails in the middle is completed and stored', async (t) => {
  const chat = await openChat('f85-anna')
  const running = await start(chat, 'gated', { content: 'f85 running' })
  await gated.arrived.next((content) => content === 'f85 running')
  const waiting = await start(chat, 'caller', calling(lookUp))

  chat.socket.drop()
  await chat.socket.closed
  gated.open('f85 running')
  const ends = [await endOfRun(server.app, chat.user, running.run_id), await endOfRun(server.app, chat.user, waiting.run_id)]

  t.match(ends.map(({ payload }) => payload), [{ status: 'completed', content: 'f85 running' }, { status: 'completed' }])
  const { runs, messages, events } = await readThread(storage, chat.user, chat.thread)
  t.match(runs, [{ runId: waiting.run_id, status: 'completed' }, { runId: running.run_id, status: 'completed' }])
  t.match(messages, [
    { role: 'user', content: 'f85 running' }, { role: 'assistant', content: 'f85 running' }, { role: 'user' }, { role: 'assistant' }
  ])
  for (const { run_id: runId } of [running, waiting]) t.same(checkRunEvents(eventsOfRun(events, runId) as readonly ThreadEvent[]), [])
  await untilSessions(engine, 0)
  t.equal(server.violations.length, 0)
})

t.test('F85 a message that was taken from a socket without a thread is run, though the socket failed before it was answered', async (t) => {
  const accepted = Promise.withResolvers<RunId>()
  const goOn = Promise.withResolvers<void>()
  const slow: Storage = {
    ...storage,
    runs: {
      ...storage.runs,
      accept: async (message) => {
        const acceptance = await storage.runs.accept(message)
        accepted.resolve(acceptance.runId)
        await goOn.promise
        return acceptance
      }
    }
  }
  const assembled = await assembleServer(t, server, { storage: slow, agents: [caller] })
  const socket = await assembled.connect('f85-ben')

  socket.send({ type: 'user_message', payload: { content: 'hello', ...calling(lookUp) } })
  const runId = await accepted.promise
  const closed = assembled.nextClosed()
  socket.drop()
  await closed
  goOn.resolve()

  const end = await endOfRun(assembled, 'f85-ben', runId)
  t.match(end.payload, { status: 'completed' })
  t.match(await asUser('f85-ben', async () => await storage.runs.require(runId)), { status: 'completed' })
  t.equal(assembled.gateway.registry.size, 0)
  t.equal(server.violations.length, 0)
})

/** How many connections the server knows in a thread. */
const connectionsIn = async ({ user, thread }: Chat): Promise<number> => {
  return await asUser(user, async () => gateway.registry.getUserConnectionsByThread(thread).size)
}

t.test('F86 when one of three sockets has died, the other two receive everything, once, and it is removed', async (t) => {
  const chat = await openChat('f86-anna')
  const [second, dead] = [await server.connect(chat.user, { thread: chat.thread }), await server.connect(chat.user, { thread: chat.thread })]
  const { run_id: runId } = await start(chat, 'gated', { content: 'f86' })
  await gated.arrived.next((content) => content === 'f86')
  const running = (await chat.socket.settled()).length

  dead.drop()
  await chat.socket.until('presence', ({ payload }) => payload.connections === 2, running)
  gated.open('f86')
  await second.until('agent_completed')

  const events = await told(t, chat, runId)
  await second.settled()
  t.same(eventsOfRun(second.runEvents, runId), events)
  t.match(events.at(-1)?.payload, { status: 'completed' })
  t.equal(await connectionsIn(chat), 2)
  t.equal(server.violations.length, 0)
})

t.test('F86 a socket that was dead when an event was sent to it is removed by that, and the others are told', async (t) => {
  const chat = await openChat('f86-ben')
  const [second, dead] = [await server.connect(chat.user, { thread: chat.thread }), await server.connect(chat.user, { thread: chat.thread })]
  listeners.set('f86 ben', () => chat.socket.ofType('presence').at(-1)?.payload.connections === 2)
  t.equal(await connectionsIn(chat), 3)

  dead.raw.pause() // it says goodbye, and then does not read the answer: the server is left with a socket that takes nothing
  dead.raw.close()
  const events = await tell(t, chat, 'chatty', { content: 'f86 ben' })

  await second.settled()
  t.match(events.at(-1)?.payload, { status: 'completed' })
  t.same(eventsOfRun(second.runEvents, events[0]?.run_id ?? ''), events)
  t.equal(second.ofType('presence').at(-1)?.payload.connections, 2)
  t.equal(await connectionsIn(chat), 2)
  t.equal(server.violations.length, 0)
})

/** The storage, whose appends are at the mercy of `fate`: it is asked at each one, and may let it fail before or after it is done. */
function atTheMercyOf (fate: (batch: readonly AppendedEvent[]) => 'before' | 'after' | 'never'): Storage {
  return {
    ...storage,
    events: {
      ...storage.events,
      append: async (batch) => {
        const fails = fate(batch)
        if (fails === 'before') throw new ThreadlineError('THREADLINE_STORAGE_UNAVAILABLE')
        const appended = await storage.events.append(batch)
        if (fails === 'after') throw new ThreadlineError('THREADLINE_STORAGE_UNAVAILABLE')
        return appended
      }
    }
  }
}

/** Says and does one thing after the other, so that each event could overtake the one before. */
const hesitant = defineAgent({
  name: 'hesitant',
  tools,
  async * run ({ callTool }) {
    yield { type: 'text', text: 'one ' }
    yield { type: 'thinking', message: 'What is next?' }
    await callTool('look', { topic: 'bees' })
    yield { type: 'text', text: 'two' }
  }
})

/** A run each of whose events is lost twice, before it is stored or on the way back, and what arrives at two sockets. */
async function loseEachTwice (t: Test, moment: 'before' | 'after'): Promise<void> {
  const tries = new Map<string, number>()
  const twice = atTheMercyOf((batch) => {
    const { event } = batch[0] as AppendedEvent // the log appends no empty batch
    const number = (tries.get(event.type) ?? 0) + 1
    tries.set(event.type, number)
    return number <= 2 ? moment : 'never'
  })
  const user = `f84-${moment}`
  const thread = await server.thread(user)
  const assembled = await assembleServer(t, server, { storage: twice, agents: [hesitant] })
  const sockets = [await assembled.connect(user, { thread }), await assembled.connect(user, { thread })]

  const completed = await sockets[0]?.chat('hello')
  await sockets[1]?.until('agent_completed')

  const { events, runs } = await readThread(storage, user, thread)
  t.same(events.map(({ type }) => type), [
    'agent_started', 'agent_thinking', 'agent_delta', 'agent_thinking', 'tool_executing', 'tool_completed', 'agent_delta', 'agent_completed'
  ])
  t.same(events.map(({ sequence }) => sequence), [1, 2, 3, 4, 5, 6, 7, 8])
  t.ok([...tries.values()].every((number) => number >= 3), 'each had failed twice')
  t.match(runs, [{ status: 'completed' }])
  for (const socket of sockets) {
    await socket.settled()
    t.same(socket.runEvents, events)
    t.same(strangers(socket.events, { user, threads: [thread], runs: [completed?.run_id ?? ''] }), [])
  }
}

t.test('F84 when two appends fail and the third works, each event arrives exactly once', async (t) => {
  await loseEachTwice(t, 'before')
})

t.test('F84 when two appends are done and their answers are lost, each event arrives exactly once', async (t) => {
  await loseEachTwice(t, 'after')
})

// Kill: let `#offer` in lib/gateway/subscriptions.ts send every event that is not below `told.to`, instead of the next one alone.
t.test('F84 an event that was stored, whose answer was lost each time and which the run gave up, is told in its place, and the run goes on', async (t) => {
  // kill: `isInterrupted` of lib/engine/execute-run.ts is always false, so that the run fails
  let givenUp = false
  const user = 'f84-given-up'
  const thread = await server.thread(user)
  const assembled = await assembleServer(t, server, {
    storage: atTheMercyOf((batch) => {
      givenUp ||= batch.some(({ event }) => event.type === 'agent_resumed')
      return !givenUp && batch.some(({ event }) => event.type === 'agent_delta') ? 'after' : 'never'
    }),
    agents: [hesitant]
  })
  const sockets = [await assembled.connect(user, { thread }), await assembled.connect(user, { thread })]

  const completed = await sockets[0]?.chat('hello')
  await sockets[1]?.until('agent_completed')

  const { events } = await readThread(storage, user, thread)
  t.same(events.map(({ type, sequence }) => [sequence, type]).slice(2, 4), [[3, 'agent_delta'], [4, 'agent_thinking']])
  t.match(completed?.payload, { status: 'completed' })
  t.same(checkRunEvents(events), [])
  t.equal(events.filter(({ type }) => type === 'agent_resumed').length, 1)
  for (const socket of sockets) {
    await socket.settled()
    t.same(socket.runEvents, events)
  }
})

t.test('F84 a run in whose middle the storage was away for long goes on when it is back, and so does its thread', async (t) => {
  let [away, back] = [false, false]
  const assembled = await assembleServer(t, server, {
    agents: [caller],
    storage: atTheMercyOf((batch) => {
      if (batch.some(({ event }) => event.type === 'tool_executing')) away = true
      if (batch.some(({ event }) => event.type === 'agent_resumed')) back = true
      return away && !back ? 'before' : 'never'
    })
  })
  const thread = await server.thread('f84-anna')
  const socket = await assembled.connect('f84-anna', { thread })

  const completed = await socket.chat('hello', calling(lookUp))

  t.match(completed.payload, { status: 'completed' })
  const { events, runs } = await readThread(storage, 'f84-anna', thread)
  t.same(checkRunEvents(events, { usesTools: true }), [])
  t.equal(events.filter(({ type }) => type === 'tool_executing').length, 1, 'a tool that could not be announced was not run')
  t.match(runs, [{ status: 'completed', attempt: 2 }])
  t.same(socket.runEvents, events)
  t.match((await socket.chat('hello', calling())).payload, { status: 'completed' })
})

t.test('F87 a run that waits for a slot for longer than a second says so, in its own thread', async (t) => {
  const [anna, ben] = [await openChat('f87-anna', narrow), await openChat('f87-ben', narrow)]
  await start(anna, 'gated', { content: 'f87 anna' })
  await gated.arrived.next((content) => content === 'f87 anna')
  const heard = (await anna.socket.settled()).length

  const { run_id: runId } = await start(ben, 'gated', { content: 'f87 ben' })
  const waiting = await ben.socket.until('agent_thinking')
  const load = { ...narrow.app.engine.load }
  const silence = (await anna.socket.settled()).slice(heard)
  gated.open('f87 anna')
  gated.open('f87 ben')
  await ben.socket.until('agent_completed')
  await anna.socket.until('agent_completed')

  t.match(waiting, { user_id: ben.user, thread_id: ben.thread, run_id: runId, payload: { message: 'Waiting for a free place' } })
  t.same(load, { sessions: 2, runs: 2, slotsTaken: 1, waiting: 1 })
  t.same(silence.map(({ type }) => type), ['pong'], 'whoever has the slot hears nothing of it')
  const events = eventsOfRun(ben.socket.runEvents, runId) as readonly ThreadEvent[] // of runs only
  t.match(typesOf(events), ['agent_started', 'agent_thinking', 'agent_delta', 'agent_completed'])
  t.same(checkRunEvents(events), [])
  t.match(events.at(-1)?.payload, { status: 'completed', content: 'f87 ben' })
  t.equal(narrow.violations.length, 0)
})

t.test('F80 the slot of a run that was stopped at its time limit is free for the next one', async (t) => {
  const [anna, ben] = [await openChat('f80-carol', narrow), await openChat('f80-dan', narrow)]
  await start(anna, 'endless-heedless')
  await anna.socket.until('agent_thinking') // she has the slot

  await start(ben, 'caller', calling(lookUp))
  const [stopped, completed] = [await anna.socket.until('agent_completed'), await ben.socket.until('agent_completed')]

  t.match([stopped.payload, completed.payload], [{ status: 'timed_out' }, { status: 'completed' }])
  const [executing] = ben.socket.ofType('tool_executing')
  t.ok((executing?.timestamp ?? '') >= stopped.timestamp, 'his began when hers had ended')
  await untilSessions(narrow.app.engine, 0)
  t.same({ ...narrow.app.engine.load }, { sessions: 0, runs: 0, slotsTaken: 0, waiting: 0 })
})
