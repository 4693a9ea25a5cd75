import t from 'tap'
import { attributes } from '../../lib/context/attributes.ts'
import type { PayloadOf, RunView } from '../../lib/protocol/events.ts'
import { newRunId, newThreadId, toRunId } from '../../lib/protocol/ids.ts'
import { createGatedAgent } from '../support/gated-agent.ts'
import { hostileThreadIds } from '../support/hostile-ids.ts'
import { httpClient, withoutRequestId, type HttpAnswer } from '../support/http-client.ts'
import { createObservingAgent } from '../support/observing-agent.ts'
import { endOfRun } from '../support/run-end.ts'
import { startServer } from '../support/start-server.ts'
import { readThread } from '../support/stored-thread.ts'

// Runs over HTTP. Users are named after their case.

const gated = createGatedAgent()
const observing = createObservingAgent()
const server = await startServer(t, { agents: [gated.agent, observing.agent], env: { DEFAULT_AGENT: 'echo', MAX_WAITING_RUNS_PER_THREAD: 2 } })
const { storage } = server.app

type Accepted = PayloadOf<'message_accepted'> & { readonly position?: number }

const acceptedIn = ({ body }: HttpAnswer): Accepted => body as Accepted // compared with the contract by the server under test

t.test('a message that is sent over HTTP is accepted, answered by a run in its thread, and seen by the sockets there', async (t) => {
  const call = await httpClient(server, 'anna')
  const thread = await server.thread('anna')
  const [inside, outside] = [await server.connect('anna', { thread }), await server.connect('anna')]

  const sent = await call('POST', `/v1/threads/${thread}/runs`, { content: 'hello', metadata: { mood: 'good' } })
  const { run_id: runId, message_id: messageId } = acceptedIn(sent)
  const completed = await inside.until('agent_completed')
  const run = await call('GET', `/v1/runs/${runId}`)
  const list = await call('GET', `/v1/threads/${thread}/runs`)

  t.equal(sent.status, 202)
  t.strictSame(sent.body, { message_id: messageId, run_id: runId, duplicate: false }, 'nothing stands before it')
  t.match(completed, { run_id: runId, thread_id: thread, payload: { status: 'completed' } })
  t.match(run, { status: 200, body: { run_id: runId, thread_id: thread, message_id: messageId, agent: 'echo', status: 'completed', error: null } })
  const view = run.body as RunView
  t.ok(Date.parse(view.created_at) <= Date.parse(view.started_at ?? '') && Date.parse(view.started_at ?? '') <= Date.parse(view.finished_at ?? ''))
  t.strictSame(list.body, { runs: [run.body], has_more: false })
  t.match((await readThread(storage, 'anna', thread)).messages, [{ content: 'hello', metadata: { mood: 'good' } }, { role: 'assistant' }])
  t.same((await outside.settled()).filter(({ thread_id: id }) => id === thread), [], 'a socket elsewhere sees nothing of it')
})

t.test('handler, registry, engine and tool of a message that came over HTTP are in its user, thread and run', async (t) => {
  const call = await httpClient(server, 'otto')
  const thread = await server.thread('otto')

  const { run_id: runId } = acceptedIn(await call('POST', `/v1/threads/${thread}/runs`, { content: 'who am I?', agent: 'observer' }))
  await endOfRun(server.app, 'otto', toRunId(runId))

  const seen = observing.seen.filter(({ content }) => content === 'who am I?').map(({ identity }) => identity)
  t.ok(seen.length > 5)
  t.same(new Set(seen.map(({ userId, threadId, runId: run }) => `${userId} ${threadId} ${run}`)), new Set([`otto ${thread} ${runId}`]))
  const spans = server.spans.spans().filter((span) => span.attributes[attributes.runId] === runId)
  const hops = new Set(spans.map((span) => span.attributes[attributes.hop]))
  for (const hop of ['handler', 'registry', 'engine', 'tool', 'emitter']) t.ok(hops.has(hop), hop)
  t.same(new Set(spans.map((span) => span.attributes[attributes.userId])), new Set(['otto']))
  t.same(new Set(spans.map((span) => span.attributes[attributes.threadId])), new Set([thread]))
  t.equal(new Set(spans.map((span) => span.spanContext().traceId)).size, 1, 'in one trace')
})

t.test('a run waits for its turn and says where it stands; one too many, or one that must not wait, is refused', async (t) => {
  const call = await httpClient(server, 'bert')
  const thread = await server.thread('bert')
  const path = `/v1/threads/${thread}`
  const send = async (content: string, more: object = {}) => await call('POST', `${path}/runs`, { content, agent: 'gated', ...more })
  const socket = await server.connect('bert', { thread })

  const first = await send('b1')
  await gated.arrived.next((content) => content === 'b1')
  const [second, third] = [await send('b2'), await send('b3')]
  const [rejected, full] = [await send('b4', { multitask_strategy: 'reject' }), await send('b5')]
  const state = await call('GET', path)
  const running = await call('GET', `/v1/runs/${acceptedIn(first).run_id}`)
  for (const content of ['b1', 'b2', 'b3']) gated.open(content)
  await socket.until('agent_completed', ({ run_id: id }) => id === acceptedIn(third).run_id)

  t.strictSame([first, second, third].map((answer) => acceptedIn(answer).position), [undefined, 1, 2])
  t.match(rejected, { status: 409, body: { error: { code: 'THREADLINE_THREAD_BUSY' } } })
  t.match(full, { status: 429, body: { error: { code: 'THREADLINE_QUEUE_FULL' } } })
  t.match(state.body, {
    active_runs: [[first, 'running'], [second, 'queued'], [third, 'queued']].map(([answer, status]) => ({ run_id: acceptedIn(answer as HttpAnswer).run_id, status }))
  })
  t.match(running.body, { status: 'running', finished_at: null })
  t.same(socket.ofType('agent_completed').map(({ payload }) => payload.content), ['b1', 'b2', 'b3'])
})

t.test('the same message sent again under its id is the same run, however it is sent; another text under that id is a conflict', async (t) => {
  const call = await httpClient(server, 'cleo')
  const thread = await server.thread('cleo')
  const socket = await server.connect('cleo', { thread })

  const first = await call('POST', `/v1/threads/${thread}/runs`, { id: 'mine', content: 'once' })
  const again = await call('POST', `/v1/threads/${thread}/runs`, { id: 'mine', content: 'once' })
  const bySocket = await socket.ask({ type: 'user_message', id: 'mine', payload: { content: 'once' } })
  const other = await call('POST', `/v1/threads/${thread}/runs`, { id: 'mine', content: 'twice' })

  t.strictSame(again.body, { ...acceptedIn(first), duplicate: true })
  t.strictSame(bySocket.payload, again.body)
  t.match(other, { status: 409, body: { error: { code: 'THREADLINE_CONFLICT' } } })
  t.equal((await readThread(storage, 'cleo', thread)).runs.length, 1)
})

t.test('a run is stopped, or all of a thread, and each tells its end; one that is over is not stopped again', async (t) => {
  const call = await httpClient(server, 'dina')
  const [thread, untouched] = [await server.thread('dina'), await server.thread('dina')]
  const socket = await server.connect('dina', { thread })
  const send = async (into: string, content: string) => acceptedIn(await call('POST', `/v1/threads/${into}/runs`, { content, agent: 'gated' })).run_id
  const [one, two, three] = [await send(thread, 'd1'), await send(thread, 'd2'), await send(thread, 'd3')]
  const elsewhere = await send(untouched, 'd4')
  await Promise.all(['d1', 'd4'].map((content) => gated.arrived.next((arrived) => arrived === content)))

  const stopped = await call('POST', `/v1/runs/${one}/cancel`)
  await socket.until('agent_completed', ({ run_id: id }) => id === one)
  const all = await call('POST', `/v1/threads/${thread}/cancel`)
  for (const runId of [two, three]) await socket.until('agent_completed', ({ run_id: id }) => id === runId)
  const again = await call('POST', `/v1/runs/${one}/cancel`)
  const other = await call('GET', `/v1/runs/${elsewhere}`)
  gated.open('d4')

  t.match(stopped, { status: 202, body: { run_ids: [one] } })
  t.equal(all.status, 202)
  t.same(new Set((all.body as PayloadOf<'runs_stopping'>).run_ids), new Set([two, three]))
  t.match(again, { status: 202, body: { run_ids: [] } })
  t.match(other.body, { status: 'running' })
  for (const runId of [one, two, three]) t.match((await call('GET', `/v1/runs/${runId}`)).body, { status: 'cancelled' })
  await endOfRun(server.app, 'dina', toRunId(elsewhere))
})

t.test('a message is edited, and an answer given once more: both stand beside what there was', async (t) => {
  const call = await httpClient(server, 'emil')
  const thread = await server.thread('emil')
  const path = `/v1/threads/${thread}`
  const done = async (answer: HttpAnswer) => await endOfRun(server.app, 'emil', toRunId(acceptedIn(answer).run_id))
  const first = await call('POST', `${path}/runs`, { content: 'first' })
  await done(first)

  const edited = await call('POST', `${path}/runs`, { content: 'edited', edit_of: acceptedIn(first).message_id })
  await done(edited)
  const once = await call('POST', `${path}/runs/regenerate`, {})
  await done(once)
  const more = await call('POST', `${path}/runs/regenerate`, { id: 'more', message_id: acceptedIn(first).message_id, agent: 'observer' })
  await done(more)
  const again = await call('POST', `${path}/runs/regenerate`, { id: 'more', message_id: acceptedIn(first).message_id, agent: 'observer' })
  const { messages } = (await call('GET', `${path}/messages`)).body as PayloadOf<'thread_history'>
  const nobody = await call('POST', `${path}/runs/regenerate`, { agent: 'nobody' })

  t.match(once, { status: 202, body: { message_id: acceptedIn(edited).message_id, duplicate: false } })
  t.strictSame(again.body, { ...acceptedIn(more), duplicate: true })
  t.match(messages, [{ content: 'first', parent_id: null }, { role: 'assistant', content: 'first seen', run_id: acceptedIn(more).run_id }])
  t.strictSame(messages[0]?.sibling_ids, [acceptedIn(first).message_id, acceptedIn(edited).message_id])
  t.equal(messages[1]?.sibling_ids.length, 2, 'the new answer beside the first')
  t.match(nobody, { status: 404, body: { error: { code: 'THREADLINE_AGENT_NOT_FOUND' } } })
})

t.test('a message that takes the turn of another stops it, and keeps what it has said, or takes it back', async (t) => {
  const call = await httpClient(server, 'fritz')
  for (const [strategy, reason] of [['interrupt', 'interrupted'], ['rollback', 'rolled_back']] as const) {
    const thread = await server.thread('fritz')
    const socket = await server.connect('fritz', { thread })
    const path = `/v1/threads/${thread}/runs`
    const first = await call('POST', path, { content: `f ${strategy}`, agent: 'gated' })
    await gated.arrived.next((content) => content === `f ${strategy}`)

    const next = await call('POST', path, { content: 'rather this', multitask_strategy: strategy })
    const ended = await socket.until('agent_completed', ({ run_id: id }) => id === acceptedIn(first).run_id)
    await socket.until('agent_completed', ({ run_id: id }) => id === acceptedIn(next).run_id)

    t.match(ended.payload, { status: 'cancelled', reason })
    const { messages } = await readThread(storage, 'fritz', thread)
    const said = messages.filter(({ role }) => role === 'user').map(({ content }) => content)
    t.strictSame(said, strategy === 'interrupt' ? [`f ${strategy}`, 'rather this'] : ['rather this'])
  }
})

// Kill: translate no error in `inThreadOf` of routes/runs.ts.
t.test('a run of another user is as unknown as one that never was, and is neither read nor stopped', async (t) => {
  const call = await httpClient(server, 'mallory')
  const [foreign, own] = [await server.thread('gina'), await server.thread('mallory')]
  const owner = await server.connect('gina', { thread: foreign })
  const accepted = await owner.ask({ type: 'user_message', payload: { content: 'g1', agent: 'gated' } })
  await gated.arrived.next((content) => content === 'g1')
  const theirs = toRunId(accepted.run_id)

  const answers = async (runId: string): Promise<readonly string[]> => [
    withoutRequestId(await call('GET', `/v1/runs/${runId}`)), withoutRequestId(await call('POST', `/v1/runs/${runId}/cancel`))
  ]
  const refusals = await answers(newRunId(newThreadId()))

  for (const refusal of refusals) t.equal(refusal, '404 {"error":{"code":"THREADLINE_RUN_NOT_FOUND","message":"There is no such run","request_id":""}}')
  t.strictSame(await answers(theirs), refusals)
  t.strictSame(await answers(newRunId(own)), refusals, 'also in a thread of the user')
  t.strictSame(await answers(`run_${own}_${theirs.slice(-36)}`), refusals, 'also under a forged name of the run')
  t.match(await call('GET', `/v1/threads/${own}/runs?before=${theirs}`), { status: 404, body: { error: { code: 'THREADLINE_RUN_NOT_FOUND' } } })
  gated.open('g1')
  t.match(await owner.until('agent_completed'), { run_id: theirs, payload: { status: 'completed' } })
  t.equal(server.violations.length, 0)
})

t.test('E68 a hostile run id in an address is refused, and so is a message that breaks its schema', async (t) => {
  const call = await httpClient(server, 'hugo')
  const thread = await server.thread('hugo')

  for (const [name, id] of Object.entries(hostileThreadIds).filter(([, text]) => text.length < 10_000 && text.isWellFormed() && !text.startsWith('run_'))) {
    const answer = await call('GET', `/v1/runs/${encodeURIComponent(id)}`)
    t.match(answer, { status: /^40[04]$/, body: { error: { code: /^THREADLINE_(INVALID_RUN_ID|NOT_FOUND|BAD_REQUEST)$/ } } }, name)
  }
  for (const body of [
    undefined, {}, { content: '' }, { content: ' ' }, { content: 7 }, { content: 'x'.repeat(32_001) }, { content: 'x', edit_of: 'x' }, { content: 'x', id: '' },
    { content: 'x', id: 'x'.repeat(129) }, { content: 'x', multitask_strategy: 'replace' }, { content: 'x', user_id: 'gina' }, { content: 'x', thread_id: thread }
  ]) {
    t.match(await call('POST', `/v1/threads/${thread}/runs`, body), { status: 400, body: { error: { code: 'THREADLINE_BAD_REQUEST' } } }, JSON.stringify(body)?.slice(0, 80))
  }
  t.match(await call('POST', `/v1/threads/${thread}/runs`, { content: 'x', agent: 'nobody' }), { status: 404, body: { error: { code: 'THREADLINE_AGENT_NOT_FOUND' } } })
  t.strictSame(await readThread(storage, 'hugo', thread), { messages: [], runs: [], events: [] })
})

t.test('the runs of a thread are listed in pages, newest first', async (t) => {
  const call = await httpClient(server, 'ines')
  const thread = await server.thread('ines')
  const socket = await server.connect('ines', { thread })
  const ids: string[] = []
  for (const content of ['one', 'two', 'three']) ids.unshift((await socket.chat(content)).run_id ?? '')

  const first = (await call('GET', `/v1/threads/${thread}/runs?limit=2`)).body as PayloadOf<'run_list'>
  const rest = (await call('GET', `/v1/threads/${thread}/runs?limit=2&before=${first.runs.at(-1)?.run_id ?? ''}`)).body as PayloadOf<'run_list'>

  t.strictSame([first, rest].map(({ runs, has_more: more }) => [runs.map(({ run_id: id }) => id), more]), [[ids.slice(0, 2), true], [ids.slice(2), false]])
})
