import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { defineAgent } from '../../lib/agents/define-agent.ts'
import type { ServerEvent } from '../../lib/protocol/events.ts'
import { newMessageId, toRunId, type RunId, type ThreadId } from '../../lib/protocol/ids.ts'
import { actingAs } from '../support/acting-as.ts'
import { createHaltingAgent } from '../support/halting-agent.ts'
import { listener } from '../support/listener.ts'
import { endOfRun } from '../support/run-end.ts'
import { startServer } from '../support/start-server.ts'
import { readThread } from '../support/stored-thread.ts'
import { strangers } from '../support/strangers.ts'
import { TestStream, type HttpAnswer } from '../support/test-stream.ts'

// A message sent by a request that is answered with its run, as a stream. Users are named after what they do.

const { agent: halting, halted } = createHaltingAgent()
const quick = defineAgent({ name: 'quick', async * run ({ content }) { yield { type: 'text', text: content } } })

const server = await startServer(t, { agents: [halting, quick], env: { DEFAULT_AGENT: 'quick', MAX_WAITING_RUNS_PER_THREAD: 1 } })
const { storage, gateway } = server.app

const haltedAt = (content: string) => halted.next((run) => run.content === content)
const typesOf = (events: readonly ServerEvent[]) => events.map(({ type }) => type)
const runOf = ({ events: [first] }: TestStream): RunId => toRunId(first?.run_id)
const withoutMark = ({ replayed: _replayed, ...event }: ServerEvent) => event

async function storyOf (user: string, thread: ThreadId, runId: RunId): Promise<readonly ServerEvent[]> {
  return (await readThread(storage, user, thread)).events.filter((event) => event.run_id === runId)
}

t.test('F73 F74 G96 a message is accepted, its run told from first to last as over a socket, and the stream is complete', async (t) => {
  const thread = await server.thread('one')
  const [one, socket] = [await listener(t, server, 'one'), await server.connect('one', { thread })]

  const reader = await one.run(thread, { content: 'hello', metadata: { from: 'a test' } })

  t.equal(await reader.closed, 'ended')
  t.same(typesOf(reader.events), ['message_accepted', 'agent_started', 'agent_thinking', 'agent_delta', 'agent_completed'])
  await socket.until('agent_completed')
  t.strictSame(reader.runEvents, socket.runEvents)
  t.same(reader.received.map(({ data }) => data), reader.events.map((event) => JSON.stringify(event)))
  t.same(reader.received.map(({ id }) => id), reader.events.map(({ epoch, sequence }) => sequence === undefined ? undefined : `${epoch}:${sequence}`))
  t.match(reader.events[0], { thread_id: thread, run_id: runOf(reader), request_id: reader.headers['x-request-id'], payload: { duplicate: false } })
  t.equal(reader.goodbye, undefined)
  t.match((await readThread(storage, 'one', thread)).runs, [{ requestId: reader.headers['x-request-id'], context: { from: 'a test' }, status: 'completed' }])
  t.match(await socket.until('presence', ({ payload }) => payload.connections === 2), {}, 'the reader was present')
  await socket.close()
})

t.test('G95 G96 however quick its run, no reader misses the beginning of it', async (t) => {
  const hasty = await listener(t, server, 'hasty')
  const threads = await Promise.all(Array.from({ length: 10 }, () => server.thread('hasty')))

  for (let round = 0; round < 5; round += 1) {
    const readers = await Promise.all(threads.map((thread) => hasty.run(thread, { content: `${round}` })))
    for (const [index, reader] of readers.entries()) {
      await reader.closed
      t.same(typesOf(reader.events), ['message_accepted', 'agent_started', 'agent_thinking', 'agent_delta', 'agent_completed'])
      t.same(reader.events.flatMap(({ sequence }) => sequence ?? []), [1, 2, 3, 4].map((place) => round * 4 + place))
      t.same(strangers(reader.events, { user: 'hasty', threads: [threads[index] ?? ''], runs: [runOf(reader)] }), [])
    }
  }
})

t.test('E70 each reader hears of its own run only, whatever else happens in the thread and to the user', async (t) => {
  const [thread, other] = [await server.thread('own'), await server.thread('own')]
  const [own, socket] = [await listener(t, server, 'own'), await server.connect('own', { thread })]

  const first = await own.run(thread, { content: 'first', agent: 'halting' })
  const second = await own.run(thread, { content: 'second', agent: 'halting' })
  const run = await haltedAt('first')
  for (const command of [
    { type: 'typing', payload: {} }, { type: 'rename_thread', payload: { thread_id: thread, title: 'Renamed' } },
    { type: 'delete_thread', payload: { thread_id: other } }
  ]) await socket.ask(command)
  run.goOn()
  const next = await haltedAt('second')
  next.goOn()

  t.same(await Promise.all([first.closed, second.closed]), ['ended', 'ended'])
  t.same(typesOf(first.events.slice(0, 2)), ['message_accepted', 'agent_started'])
  t.same(typesOf(second.events.slice(0, 3)), ['message_accepted', 'run_queued', 'agent_started'])
  t.match(second.events[1], { payload: { position: 1 } })
  for (const reader of [first, second]) {
    t.strictSame(reader.runEvents, await storyOf('own', thread, runOf(reader)))
    t.equal(reader.runEvents.at(-1)?.type, 'agent_completed')
    t.ok(reader.events.every((event) => event.run_id === runOf(reader)))
  }
  await socket.close()
})

t.test('E71 a run that another message interrupts or rolls back ends on its own stream', async (t) => {
  for (const [strategy, reason] of [['interrupt', 'interrupted'], ['rollback', 'rolled_back']] as const) {
    const thread = await server.thread('twice')
    const twice = await listener(t, server, 'twice')
    const first = await twice.run(thread, { content: strategy, agent: 'halting' })
    await haltedAt(strategy)

    const second = await twice.run(thread, { content: 'instead', multitask_strategy: strategy })

    t.same(await Promise.all([first.closed, second.closed]), ['ended', 'ended'])
    t.match(first.events.at(-1), { type: 'agent_completed', run_id: runOf(first), payload: { status: 'cancelled', reason } })
    t.match(second.events.at(-1), { type: 'agent_completed', run_id: runOf(second), payload: { status: 'completed', content: 'instead' } })
  }
})

t.test('G90 a message that is sent again under its id attaches to the run that it has: what it has told, then what it tells', async (t) => {
  const thread = await server.thread('again')
  const again = await listener(t, server, 'again')
  const message = { id: 'm-1', content: 'again', agent: 'halting' }
  const first = await again.run(thread, message)
  const run = await haltedAt('again')
  await first.until('agent_delta')
  first.drop()

  const second = await again.run(thread, message)
  await second.until('agent_delta', ({ replayed }) => replayed === true)
  run.goOn()
  await second.closed
  const third = await again.run(thread, message)
  await third.closed

  const story = await storyOf('again', thread, runOf(first))
  t.same((await readThread(storage, 'again', thread)).runs.length, 1)
  for (const reader of [second, third]) {
    t.match(reader.events[0], { type: 'message_accepted', run_id: runOf(first), reply_to: 'm-1', payload: { duplicate: true } })
    t.strictSame(reader.runEvents.map(withoutMark), story)
    t.equal(reader.runEvents[0]?.replayed, true)
  }
  t.equal(second.runEvents.at(-1)?.replayed, undefined)
  t.equal(third.runEvents.at(-1)?.replayed, true)
})

t.test('G90 of a queued run that is attached to, everything is live', async (t) => {
  const thread = await server.thread('queued')
  const queued = await listener(t, server, 'queued')
  await queued.run(thread, { content: 'before', agent: 'halting' })
  const before = await haltedAt('before')
  const message = { id: 'm-2', content: 'behind' }
  const first = await queued.run(thread, message)

  const second = await queued.run(thread, message)
  before.goOn()

  t.same(await Promise.all([first.closed, second.closed]), ['ended', 'ended'])
  t.same(typesOf(second.events), ['message_accepted', 'agent_started', 'agent_thinking', 'agent_delta', 'agent_completed'])
  t.strictSame(second.runEvents, first.runEvents)
})

t.test('a run whose events are not kept any more is told as it stands', async (t) => {
  const thread = await server.thread('old')
  const old = await listener(t, server, 'old')
  const message = { id: 'm-3', content: 'long ago' }
  const first = await old.run(thread, message)
  await first.closed
  await storage.upkeep.purge({ deletedBefore: new Date(0), eventsBefore: new Date(Date.now() + 60_000), limit: 1_000 })

  const second = await old.run(thread, message)

  t.equal(await second.closed, 'ended')
  t.same(typesOf(second.events), ['message_accepted', 'run_state'])
  t.match(second.events[1], { run_id: runOf(first), payload: { run_id: runOf(first), status: 'completed' } })
})

t.test('K126 what cannot be begun is refused with its own status, and leaves nothing', async (t) => {
  const [thread, another] = [await server.thread('refused'), await server.thread('refused')]
  const refused = await listener(t, server, 'refused')
  const reader = await refused.run(thread, { id: 'm-4', content: 'busy', agent: 'halting' })
  const run = await haltedAt('busy')
  const waiting = await refused.run(thread, { content: 'waiting' })
  const before = { ...gateway.load, runs: (await readThread(storage, 'refused', thread)).runs.length }
  const ask = (body: unknown, of = thread) => refused.ask(`/v1/threads/${of}/runs/stream`, { method: 'POST', body })

  const answers: readonly (readonly [unknown, number, string, ThreadId?])[] = [
    [{ content: 'no', multitask_strategy: 'reject' }, 409, 'THREADLINE_THREAD_BUSY'],
    [{ content: 'no' }, 429, 'THREADLINE_QUEUE_FULL'],
    [{ content: 'no', agent: 'nobody' }, 404, 'THREADLINE_AGENT_NOT_FOUND'],
    [{ content: 'no', edit_of: newMessageId() }, 404, 'THREADLINE_NOT_FOUND'],
    [{ id: 'm-4', content: 'other' }, 409, 'THREADLINE_CONFLICT'],
    [{ id: 'm-4', content: 'busy', agent: 'halting' }, 409, 'THREADLINE_CONFLICT', another],
    [{ content: '  ' }, 400, 'THREADLINE_BAD_REQUEST'],
    [{}, 400, 'THREADLINE_BAD_REQUEST'],
    [{ content: 'no', on_disconnect: 'explode' }, 400, 'THREADLINE_BAD_REQUEST'],
    [{ content: 'no', user_id: 'somebody' }, 400, 'THREADLINE_BAD_REQUEST'],
    [{ content: 'x'.repeat(70_000) }, 413, 'THREADLINE_BODY_TOO_LARGE']
  ]
  for (const [body, status, code, of] of answers) t.match(codeOf(await ask(body, of)), [status, code])

  t.same({ ...gateway.load, runs: (await readThread(storage, 'refused', thread)).runs.length }, before)
  run.goOn()
  t.same(await Promise.all([reader.closed, waiting.closed]), ['ended', 'ended'])
  t.same((await readThread(storage, 'refused', another)).runs, [])
})

function codeOf (answer: TestStream | HttpAnswer): readonly [number, string] {
  if (answer instanceof TestStream) return [200, 'a stream']
  const { error } = JSON.parse(answer.text) as { error: { code: string } } // every refusal has this body
  return [answer.status, error.code]
}

t.test('F85 by default the run goes on when its reader leaves', async (t) => {
  const thread = await server.thread('leaves')
  const leaves = await listener(t, server, 'leaves')
  const reader = await leaves.run(thread, { content: 'left', agent: 'halting' })
  const run = await haltedAt('left')

  reader.drop()
  await untilGone('leaves')
  run.goOn()

  t.match(await endOfRun(server.app, 'leaves', runOf(reader)), { payload: { status: 'completed', content: 'left: so far, and the rest' } })
})

t.test('E71 with on_disconnect: cancel the run is stopped when its reader leaves, and no other run', async (t) => {
  const [thread, other] = [await server.thread('stops'), await server.thread('stops')]
  const stops = await listener(t, server, 'stops')
  const reader = await stops.run(thread, { content: 'stopped', agent: 'halting', on_disconnect: 'cancel' })
  const bystander = await stops.run(other, { content: 'bystander', agent: 'halting', on_disconnect: 'cancel' })
  const [run, unharmed] = [await haltedAt('stopped'), await haltedAt('bystander')]
  const behind = await stops.run(thread, { content: 'behind it' })

  reader.drop()

  t.match(await endOfRun(server.app, 'stops', runOf(reader)), { payload: { status: 'cancelled', content: 'stopped: so far' } })
  t.equal(run.signal.aborted, true)
  t.equal(await behind.closed, 'ended')
  t.match(behind.runEvents.at(-1), { payload: { status: 'completed' } })
  t.equal(unharmed.signal.aborted, false)
  unharmed.goOn()
  t.equal(await bystander.closed, 'ended')
  t.match(bystander.runEvents.at(-1), { payload: { status: 'completed' } }, 'a stream that is complete was not left')
})

t.test('A11 K130 who leaves before, while or after the stream begins leaves nothing behind', async (t) => {
  const thread = await server.thread('gone')
  const token = await server.token('gone')
  const controllers = Array.from({ length: 20 }, () => new AbortController())
  const asked = controllers.map(async ({ signal }, index) => {
    const path = `${server.url}/v1/threads/${thread}`
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
    return index % 2 === 0
      ? await fetch(`${path}/events`, { headers, signal })
      : await fetch(`${path}/runs/stream`, { method: 'POST', headers, signal, body: '{"content":"hello"}' })
  })

  const first = await asked[0]
  for (const controller of controllers) controller.abort()
  await Promise.allSettled(asked)

  t.equal(first?.status, 200)
  while (gateway.load.connections > 0 || gateway.load.followedThreads > 0) await turn()
  t.match(gateway.load, { connections: 0, users: 0, followedThreads: 0 })
  t.same(server.violations, [])
})

/** Resolves when no connection of the user is left. */
async function untilGone (user: string): Promise<void> {
  while (actingAs(user, () => gateway.registry.getUserConnections().size) > 0) await turn()
}
