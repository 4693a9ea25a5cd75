import t from 'tap'
import { defineAgent } from '../../lib/agents/define-agent.ts'
import { attributes } from '../../lib/context/attributes.ts'
import { currentThread, enterThread } from '../../lib/context/current-thread.ts'
import { hops } from '../../lib/context/hop.ts'
import { createIdentity, createRunIdentity, type ThreadIdentity } from '../../lib/context/identity.ts'
import { executeRun } from '../../lib/engine/execute-run.ts'
import { Slots } from '../../lib/engine/slots.ts'
import type { ServerEvent } from '../../lib/protocol/events.ts'
import { newEventId, newRequestId, newRunId, newThreadId, threadOfRun, toUserId, type RunId } from '../../lib/protocol/ids.ts'
import type { RunRecord } from '../../lib/stores/run-record.ts'
import { createObservingAgent } from '../support/observing-agent.ts'
import { startServer } from '../support/start-server.ts'
import { hopOf, traceOf } from '../support/trace-of.ts'

const steps: { readonly step: string, readonly identity: ThreadIdentity, readonly content: string }[] = []
const step = (name: string, answer: (content: string) => string) => defineAgent({
  name,
  async * run ({ content }) {
    steps.push({ step: name, identity: currentThread(), content })
    await Promise.resolve()
    yield { type: 'text', text: answer(content) }
  }
})
const broken = defineAgent({
  name: 'broken',
  // oxlint-disable-next-line require-yield -- it fails before it could say anything
  async * run ({ content }) {
    steps.push({ step: 'broken', identity: currentThread(), content })
    throw new Error('broken')
  }
})
const shout = step('shout', (content) => content.toUpperCase())
const greet = step('greet', (content) => `hello ${content}`)
const end = step('end', (content) => `${content}!`)

const observer = createObservingAgent()
const server = await startServer(t, {
  agents: [
    observer.agent,
    defineAgent({ name: 'pipeline', steps: [{ agent: shout }, { agent: greet }, { agent: end }] }),
    defineAgent({ name: 'pipeline-that-stops', steps: [{ agent: shout }, { agent: broken }, { agent: end }] }),
    defineAgent({ name: 'pipeline-that-goes-on', steps: [{ agent: shout }, { agent: broken, continueOnError: true }, { agent: end }] })
  ]
})

const isRunEvent = ({ run_id: runId }: ServerEvent): boolean => runId !== undefined

t.test('B16 B17 B19 handler, agent and tool find user, thread, run and connection of the socket without being told', async (t) => {
  // kill: `enterThread(identity, …)` around `handleCommand` in lib/gateway/receive-frame.ts becomes a plain call
  const thread = await server.thread('alice')
  const socket = await server.connect('alice', { thread })
  const connectionId = socket.ofType('connection_established')[0]?.payload.connection_id

  const completed = await socket.chat('B16', { agent: 'observer' })

  const seen = observer.seen.filter(({ content }) => content === 'B16')
  t.equal(seen.length, 7)
  for (const { at, identity } of seen) {
    t.match(identity, { userId: 'alice', threadId: thread, runId: completed.run_id, connectionId }, at)
  }
  const [tool] = socket.ofType('tool_completed')
  t.match(tool, { thread_id: thread, run_id: completed.run_id, payload: { success: true, result: { thread } } })
})

t.test('B18 engine context, run record and every event have one thread and one run id', async (t) => {
  const thread = await server.thread('alice')
  const socket = await server.connect('alice', { thread })

  const completed = await socket.chat('B18', { agent: 'observer' })

  const runId = completed.run_id as RunId // the run's own last event
  const record = await enterThread(createIdentity({ userId: toUserId('alice') }), () => server.app.storage.runs.require(runId))
  t.match(record, { runId, threadId: thread, userId: 'alice', status: 'completed', attempt: 1, requestId: completed.request_id })
  t.equal(threadOfRun(runId), thread)
  const runEvents = (await socket.settled()).filter(isRunEvent)
  t.ok(runEvents.length >= 6)
  t.same(new Set(runEvents.map((event) => event.run_id)), new Set([runId]))
  t.same(new Set(runEvents.map((event) => event.thread_id)), new Set([thread]))
  t.same(new Set(runEvents.map((event) => event.request_id)), new Set([completed.request_id]))
})

t.test('B20 all seven hops of a message are in one trace, each with the same identity', async (t) => {
  const thread = await server.thread('alice')
  const socket = await server.connect('alice', { thread })

  const completed = await socket.chat('B20', { agent: 'observer' })
  const spans = await traceOf(server, completed)

  const expected = { [attributes.userId]: 'alice', [attributes.threadId]: thread, [attributes.runId]: completed.run_id }
  for (const hop of hops) {
    const ofHop = spans.filter((span) => hopOf(span) === hop)
    t.ok(ofHop.length > 0, `${hop} is there`)
    for (const span of ofHop) t.match(span.attributes, { ...expected, [attributes.requestId]: String }, hop)
  }
  const ids = new Set(spans.map((span) => span.spanContext().spanId))
  const roots = spans.filter((span) => span.parentSpanContext === undefined)
  t.same(roots.map(({ name }) => name), ['socket.receive'], 'one root')
  t.ok(spans.every(({ parentSpanContext: parent }) => parent === undefined || ids.has(parent.spanId)), 'no orphan')
  const [linked] = roots[0]?.links ?? []
  const handshake = server.spans.spans().find((span) => span.spanContext().spanId === linked?.context.spanId)
  t.equal(handshake?.name, 'socket.handshake')
  t.not(handshake?.spanContext().traceId, roots[0]?.spanContext().traceId, 'linked to the handshake, not below it')
})

t.test('B21 a run is not executed in another user\'s or thread\'s context, and tells nothing', async (t) => {
  // kill: the first line of executeRun in lib/engine/execute-run.ts
  const { eventLog: log, agents, storage, log: logger } = server.app
  const thread = await server.thread('alice')
  const other = await server.thread('alice')
  const options = {
    log, agents, logger, messages: storage.messages, runs: storage.runs, queue: storage.queue, slots: new Slots(1), runTimeoutMs: 1000, toolTimeoutMs: 1000, stepTimeoutMs: 1000, stepLimit: 1, waitNoticeMs: 1000
  }
  const run = { runId: newRunId(thread), threadId: thread, userId: toUserId('alice'), agent: 'observer', input: 'B21', attempt: 1 } as RunRecord
  const contexts = [
    createRunIdentity({ userId: toUserId('bob'), threadId: thread, runId: run.runId }),
    createRunIdentity({ userId: toUserId('alice'), threadId: other, runId: newRunId(other) }),
    createRunIdentity({ userId: toUserId('alice'), threadId: thread, runId: newRunId(thread) })
  ]

  for (const context of contexts) {
    const executed = enterThread(context, () => executeRun(run, new AbortController(), options))
    await t.rejects(executed, { code: 'THREADLINE_CONTEXT_MISMATCH' })
  }

  const events = await enterThread(createIdentity({ userId: toUserId('alice') }), () => storage.events.read(thread, 0, 10))
  t.same(events, [])
  t.equal(observer.seen.filter(({ content }) => content === 'B21').length, 0)
  t.equal(server.violations.filter(({ owner }) => owner.runId === run.runId).length, 3)
})

t.test('B22 a run id that is none is refused wherever a run could begin or tell something', async (t) => {
  const thread = await server.thread('alice')
  const socket = await server.connect('alice', { thread })
  const identity = createRunIdentity({ userId: toUserId('alice'), threadId: thread, runId: newRunId(thread) })

  for (const runId of ['', ' ', thread, newThreadId(), `run_${thread}`, newRunId(newThreadId())] as RunId[]) {
    t.throws(() => createRunIdentity({ userId: toUserId('alice'), threadId: thread, runId }), { code: 'THREADLINE_INVALID_CONTEXT', field: 'run_id' })
    const event = {
      type: 'agent_started', event_id: newEventId(), timestamp: new Date().toISOString(), user_id: identity.userId, thread_id: thread,
      run_id: runId, request_id: newRequestId(), payload: { agent: 'observer', message_id: newThreadId(), input: 'B22' }
    } as const
    await t.rejects(enterThread(identity, () => server.app.eventLog.append(event, 1)), { code: 'THREADLINE_CONTEXT_MISMATCH' })
    const answer = await socket.ask({ type: 'stop_agent', payload: { run_id: runId } })
    t.match(answer, { type: 'error', payload: { code: /^THREADLINE_(INVALID_RUN_ID|RUN_NOT_FOUND)$/ } })
  }
  t.same((await socket.settled()).filter(isRunEvent), [])
})

t.test('B23 the steps of a pipeline share user, thread and run, and a failing step stops it unless told to go on', async (t) => {
  const thread = await server.thread('alice')
  const socket = await server.connect('alice', { thread })

  const whole = await socket.chat('hi', { agent: 'pipeline' })
  const stopped = await socket.chat('ho', { agent: 'pipeline-that-stops' })
  const continued = await socket.chat('hu', { agent: 'pipeline-that-goes-on' })

  t.match(whole.payload, { status: 'completed', content: 'hello HI!' })
  t.match(stopped.payload, { status: 'failed', error: { code: 'THREADLINE_INTERNAL' } })
  t.match(continued.payload, { status: 'completed', content: 'HU!' })
  for (const { run_id: runId } of [whole, stopped, continued]) {
    const ofRun = steps.filter(({ identity }) => identity.runId === runId)
    t.ok(ofRun.every(({ identity }) => identity.userId === 'alice' && identity.threadId === thread && identity.depth === 1))
    t.equal(new Set(ofRun.map(({ identity }) => identity.requestId)).size, ofRun.length, 'each step is a request of its own')
  }
  const namesOf = ({ run_id: runId }: ServerEvent): readonly string[] => steps.filter(({ identity }) => identity.runId === runId).map((taken) => taken.step)
  t.same(namesOf(whole), ['shout', 'greet', 'end'])
  t.same(namesOf(stopped), ['shout', 'broken'])
  t.same(namesOf(continued), ['shout', 'broken', 'end'])
})

t.test('B24 a message that names another own thread runs there, and the socket stays where it is', async (t) => {
  // kill: let `namedThreads` of lib/gateway/identity-of-command.ts give nothing
  const [first, second] = [await server.thread('alice'), await server.thread('alice')]
  const socket = await server.connect('alice', { thread: first })
  const watching = await server.connect('alice', { thread: second })

  const accepted = await socket.ask({ type: 'user_message', thread_id: second, payload: { content: 'B24', agent: 'observer' } })
  const completed = await watching.until('agent_completed')

  t.equal(accepted.thread_id, second)
  t.equal(completed.run_id, accepted.run_id)
  const seen = observer.seen.filter(({ content }) => content === 'B24')
  t.equal(seen.length, 7)
  t.ok(seen.every(({ identity }) => identity.threadId === second))
  t.same((await watching.settled()).filter(isRunEvent).map((event) => event.thread_id).filter((thread) => thread !== second), [])
  const later = await socket.ask({ type: 'get_thread_history', payload: {} })
  t.match(later, { thread_id: first, payload: { messages: [] } })
  t.same((await socket.settled()).filter((event) => event.sequence !== undefined), [], 'its own thread heard nothing')
})
