import t from 'tap'
import { attributes } from '../../lib/context/attributes.ts'
import { hops } from '../../lib/context/hop.ts'
import type { ServerEvent } from '../../lib/protocol/events.ts'
import { newRunId, newThreadId } from '../../lib/protocol/ids.ts'
import type { RunIsolation } from '../../lib/protocol/run-isolation.ts'
import { fewerNodes } from '../support/fewer-nodes.ts'
import { createGatedAgent } from '../support/gated-agent.ts'
import { httpClient, withoutRequestId } from '../support/http-client.ts'
import { startServer } from '../support/start-server.ts'
import type { TestSocket } from '../support/test-socket.ts'

// What the service says of the isolation of a run. Users are named after their case.

const gated = createGatedAgent()
const server = await startServer(t, { agents: [gated.agent], env: { DEFAULT_AGENT: 'assistant' }, only: fewerNodes.report })

/** The report, once the spans of the run have ended. */
async function reportOf (user: string, runId: string): Promise<RunIsolation> {
  await server.spans.until((spans) => spans.find(({ name, attributes: said }) => name.startsWith('invoke_agent') && said[attributes.runId] === runId))
  const call = await httpClient(server, user)
  const { status, body } = await call('GET', `/v1/runs/${runId}/isolation`)
  if (status !== 200) throw new Error(`No report: ${status}`)
  return body as RunIsolation // compared with the contract by the server under test
}

const connectionOf = (socket: TestSocket): string => (socket.events[0] as ServerEvent<'connection_established'>).payload.connection_id

/** Every sequence of a run's event that a socket was told, told now or again. */
function sequencesAt (socket: TestSocket, runId: string, replayed: boolean): readonly number[] {
  const own = socket.events.filter((event) => event.run_id === runId && event.sequence !== undefined && (event.replayed ?? false) === replayed)
  return own.map(({ sequence = 0 }) => sequence)
}

function sequencesIn ({ deliveries }: RunIsolation, connectionId: string, replayed: boolean): readonly number[] {
  const own = deliveries.filter((delivery) => delivery.connection_id === connectionId && delivery.replayed === replayed)
  return own.flatMap(({ sequences }) => sequences.flatMap(([first = 0, last = 0]) => Array.from({ length: last - first + 1 }, (_, index) => first + index)))
}

t.test('a run that was isolated is reported as clean, with every hop in its identity', async (t) => {
  const thread = await server.thread('clara')
  const socket = await server.connect('clara', { thread })

  const { run_id: runId = '' } = await socket.chat('What time is it for a heron?')
  const report = await reportOf('clara', runId)

  t.match(report, { run_id: runId, thread_id: thread, user_id: 'clara', verdict: 'clean', findings: [], incomplete: [], violations: [] })
  t.same(hops.filter((hop) => !report.hops.some((seen) => seen.hop === hop)), [], 'no hop is missing')
  t.equal(report.hops[0]?.hop, 'socket.receive')
  for (const { hop, user_id: user, thread_id: inThread, run_id: inRun } of report.hops) {
    t.same([user, inThread, hop === 'socket.receive' ? runId : inRun], ['clara', thread, runId], hop)
  }
  t.same(new Set(report.identities.map((identity) => identity.user_id)), new Set(['clara']))
  t.same(report.database, { role: 'threadline_app', user_id: 'clara', row_security: 'forced', bypasses_row_security: false })
  t.equal(new Set(report.spans.map((span) => span.trace_id)).size, 1)
  t.notOk(JSON.stringify(report).includes('heron'), 'nothing of what was said is in it')
})

// kill: sentEvents.tell in lib/gateway/connection.ts.
t.test('exactly the connections that received each sequence are listed: two tabs, and one that came back', async (t) => {
  const thread = await server.thread('tess')
  const [one, other] = [await server.connect('tess', { thread }), await server.connect('tess', { thread })]
  const [elsewhere, stranger] = [await server.connect('tess'), await server.connect('tom')]

  const accepted = await one.ask({ type: 'user_message', payload: { content: 'tess', agent: 'gated' } }) as ServerEvent<'message_accepted'>
  const runId = accepted.payload.run_id
  const leaver = await server.connect('tess', { thread })
  const { sequence: after, epoch } = await leaver.until('connection_established').then((event) => event.payload)
  await leaver.close()
  gated.open('tess')
  await Promise.all([one, other].map((socket) => socket.until('agent_completed', (event) => event.run_id === runId)))
  const back = await server.connect('tess', { thread })
  await back.ask({ type: 'resume', payload: { after: Math.max(0, after - 1), epoch } })
  const report = await reportOf('tess', runId)

  for (const [name, socket] of Object.entries({ one, other, elsewhere, stranger, leaver, back })) {
    for (const replayed of [false, true]) {
      t.same(sequencesIn(report, connectionOf(socket), replayed), sequencesAt(socket, runId, replayed), `${name}, ${replayed ? 'replayed' : 'live'}`)
    }
  }
  t.ok(sequencesAt(back, runId, true).length > 0, 'something was told again')
  t.ok(report.deliveries.every((delivery) => delivery.user_id === 'tess' && delivery.thread_id === thread))
  t.equal(report.verdict, 'clean')
})

t.test('a run that goes on is incomplete, and lists what is open', async (t) => {
  const thread = await server.thread('olga')
  const socket = await server.connect('olga', { thread })
  const call = await httpClient(server, 'olga')

  const accepted = await socket.ask({ type: 'user_message', payload: { content: 'olga', agent: 'gated' } }) as ServerEvent<'message_accepted'>
  await socket.until('agent_thinking')
  const answer = await socket.ask({ type: 'get_run_isolation', payload: { run_id: accepted.payload.run_id } }) as ServerEvent<'run_isolation'>
  const { body } = await call('GET', `/v1/runs/${accepted.payload.run_id}/isolation`)

  t.equal(answer.payload.verdict, 'incomplete')
  t.ok(answer.payload.spans.some(({ name, ended_at: endedAt }) => name.startsWith('invoke_agent') && endedAt === null))
  t.equal((body as RunIsolation).verdict, 'incomplete', 'the same over HTTP')
  gated.open('olga')
  await socket.until('agent_completed')
})

// kill: continue every run by the first one's carrier, in lib/engine/enter-run.ts. The guard sees nothing of it; the check names `registry`.
t.test('two users who talk at the same time are each in their own report', async (t) => {
  const sockets = await Promise.all(['ulf', 'vera'].map(async (user) => ({
    user, socket: await server.connect(user, { thread: await server.thread(user) })
  })))

  const ends = await Promise.all(sockets.map(async ({ user, socket }) => ({ user, runs: [
    (await socket.chat('hello')).run_id ?? '', (await socket.chat('and again')).run_id ?? ''
  ] })))

  for (const { user, runs } of ends) {
    for (const runId of runs) {
      const report = await reportOf(user, runId)
      t.match(report, { verdict: 'clean', findings: [], violations: [] })
      t.same(new Set(report.identities.map((identity) => identity.user_id)), new Set([user]))
    }
  }
})

t.test('another\'s run is as little there as one that nobody has', async (t) => {
  const socket = await server.connect('hedda', { thread: await server.thread('hedda') })
  const { run_id: runId = '' } = await socket.chat('hello')
  const call = await httpClient(server, 'mallory')

  const foreign = await call('GET', `/v1/runs/${runId}/isolation`)
  const unknown = await call('GET', `/v1/runs/${newRunId(newThreadId())}/isolation`)

  t.equal(foreign.status, 404)
  t.equal(withoutRequestId(foreign), withoutRequestId(unknown))
  t.match(foreign.body, { error: { code: 'THREADLINE_RUN_NOT_FOUND' } })
})

t.test('the guard was silent in all of it', (t) => {
  t.same(server.violations, [])
  t.end()
})
