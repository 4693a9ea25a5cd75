import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import t from 'tap'
import { defineAgent } from '../../lib/agents/define-agent.ts'
import type { ServerEvent } from '../../lib/protocol/events.ts'
import { clientOf, following, seenIn, sequencesOf, type Seen } from '../support/coming-back.ts'
import { createPatientAgent, untilWaiting } from '../support/patient-agent.ts'
import { startGateway } from '../support/start-gateway.ts'
import { startServer } from '../support/start-server.ts'
import { strangers } from '../support/strangers.ts'

/** Tells as many pieces of text as its message says, each an event of its own. */
const writer = defineAgent({
  name: 'writer',
  async * run ({ content }) {
    for (let word = 0; word < Number(content); word += 1) {
      yield { type: 'text', text: `${word} ` }
      yield { type: 'thinking', message: String(word) }
    }
  }
})
const parrot = defineAgent({ name: 'parrot', async * run ({ content }) { yield { type: 'text', text: content } } })
const patient = createPatientAgent()
const server = await startServer(t, { agents: [writer, parrot, patient.agent], env: { MAX_CONNECTIONS_PER_USER: 100 } })
const { epoch } = server.app.storage

// FUZZ_SEED=42 node test/acceptance/resume-at-random.test.ts
const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 2 ** 31)

/** How a client is connected for a while: in which way it comes back, and after how many events it is cut off. */
interface Stay { readonly way: 'handshake' | 'entered' | 'elsewhere', readonly events: number }

const stay = fc.record<Stay>({ way: fc.constantFrom('handshake', 'entered', 'elsewhere'), events: fc.integer({ min: 1, max: 30 }) })

// kill: let `#offer` of lib/gateway/subscriptions.ts send what the connection has been told already.
t.test('G91 D47 tabs that are cut off at any point of a run in flight get every event once, and missed and live ones in order', async (t) => {
  const words = 40
  const total = 3 + 2 * words
  const { comeBack } = await clientOf(t, server, 'alice')
  const lobby = await server.thread('alice')
  const sender = await server.connect('alice', { thread: lobby })

  async function stayIn (thread: string, seen: Seen, { way, events }: Stay): Promise<readonly ServerEvent[]> {
    const socket = way === 'handshake' ? await comeBack(thread, seen) : await comeBack(way === 'entered' ? thread : lobby)
    if (way !== 'handshake') await socket.ask({ type: 'resume', thread_id: thread, payload: { ...seen } })
    const until = Math.min(seen.after + events, total)
    await socket.next(({ sequence }) => sequence === until)
    if (way !== 'handshake') await socket.next(() => sequencesOf(socket.events).length >= Math.min(events, total - seen.after))
    socket.drop()
    await socket.closed
    return socket.events
  }

  /** What one tab is sent, from the first event of the thread to the last. Throws for a gap, a double or an inversion. */
  async function readAll (thread: string, stays: readonly Stay[]): Promise<readonly ServerEvent[]> {
    const received: ServerEvent[] = []
    for (const next of [...stays, { way: 'handshake', events: total } as const]) {
      const seen = { after: received.length, epoch }
      if (seen.after === total) break
      const events = (await stayIn(thread, seen, next)).filter(({ sequence }) => sequence !== undefined)
      const live = events.filter(({ replayed }) => replayed !== true)
      const ordered = next.way === 'handshake' ? [events] : [events.filter(({ replayed }) => replayed === true), live]
      for (const part of ordered) checkOrder(part)
      const inOrder = events.toSorted((one, other) => (one.sequence ?? 0) - (other.sequence ?? 0))
      if (sequencesOf(inOrder).join() !== following(seen.after, inOrder.length).join()) {
        throw new Error(`${next.way} after ${seen.after} got ${sequencesOf(events).join()}`)
      }
      received.push(...inOrder)
    }
    return received
  }

  const holds = fc.asyncProperty(fc.array(fc.array(stay, { maxLength: 8 }), { minLength: 1, maxLength: 3 }), async (tabs) => {
    const thread = await server.thread('alice')
    const reading = tabs.map((stays) => readAll(thread, stays))
    sender.send({ type: 'user_message', thread_id: thread, payload: { content: String(words), agent: 'writer' } })
    for (const events of await Promise.all(reading)) {
      const content = (events.at(-1) as ServerEvent<'agent_completed'>).payload.content // the last event of a run
      const text = events.map(({ type, payload }) => type === 'agent_delta' && 'text' in payload ? payload.text : '').join('')
      if (events.length !== total || text !== content) throw new Error(`${events.length} events, and the text ${text}`)
    }
  })
  t.comment(`FUZZ_SEED=${seed}`)
  await t.resolves(fc.assert(holds, { numRuns: 20, seed }))
  t.same(server.violations, [])
})

function checkOrder (events: readonly ServerEvent[]): void {
  const sequences = sequencesOf(events)
  if (sequences.some((sequence, index) => index > 0 && sequence <= (sequences[index - 1] ?? 0))) throw new Error(`out of order: ${sequences.join()}`)
}

t.test('a reload at any moment of an answer shows what was said until then, and the rest follows', async (t) => {
  const { comeBack } = await clientOf(t, server, 'bob')
  const lobby = await server.thread('bob')
  const sender = await server.connect('bob', { thread: lobby })

  for (let round = 0; round < 10; round += 1) {
    const thread = await server.thread('bob')
    const accepted = await sender.ask({ type: 'user_message', thread_id: thread, payload: { content: '40', agent: 'writer' } })
    const tabs = []
    for (let tab = 0; tab < 4; tab += 1) tabs.push(await comeBack(thread))
    for (const tab of tabs) {
      const { payload: { active_runs: runs, sequence } } = await tab.until('connection_established')
      if (runs.length === 0) continue // it was over by then
      const completed = await tab.until('agent_completed')
      const said = runs.find(({ run_id: runId }) => runId === accepted.run_id)?.text ?? ''
      const text = tab.ofType('agent_delta').map((event) => event.payload.text).join('')

      t.equal(`${said}${text}`, completed.payload.content)
      t.same(sequencesOf(tab.events), following(sequence, sequencesOf(tab.events).length))
    }
    if (tabs.every((tab) => tab.ofType('agent_completed').length === 0)) t.fail('all came too late')
    for (const tab of tabs) tab.drop()
  }
})

t.test('K129 G99 three users who drop out in the middle go on in their own threads, and when all have left nothing remains', async (t) => {
  const { gateway, connect } = await startGateway(t, server, { limits: { messageWindowMs: 1, heartbeatIntervalMs: 5, heartbeatTimeoutMs: 60_000 } })
  const users = ['dave', 'erin', 'frank']

  const chats = await Promise.all(users.map(async (user) => {
    const thread = await server.thread(user)
    const first = await connect(user, { thread })
    const answered = await first.chat(`${user} begins`, { agent: 'parrot' })
    const accepted = await first.ask({ type: 'user_message', payload: { content: `${user} goes on`, agent: 'patient' } })
    await untilWaiting(first, accepted.run_id)
    const position = seenIn(first.events, { after: 0, epoch })
    first.drop()
    await first.closed
    return { user, thread, first, position, runs: [answered.run_id ?? '', accepted.run_id ?? ''] }
  }))
  for (const { user } of chats) patient.open(`${user} goes on`)
  const backs = await Promise.all(chats.map(async ({ user, thread, position }) => await connect(user, { thread, position })))

  for (const [index, { user, thread, first, position, runs }] of chats.entries()) {
    const back = backs[index] ?? t.fail('everybody is back')
    if (typeof back === 'boolean') continue
    const completed = await back.until('agent_completed', (event) => event.run_id === runs[1])
    const last = await back.chat(`${user} ends`, { agent: 'parrot' })
    const history = await back.ask({ type: 'get_thread_history', payload: {} }) as ServerEvent<'thread_history'> // its answer

    t.match(completed, { user_id: user, thread_id: thread, payload: { status: 'completed', content: 'first last' } })
    t.same(sequencesOf([...first.events, ...back.events]), following(0, position.after + 5 + 4))
    t.same(history.payload.messages.map(({ content }) => content), [
      `${user} begins`, `${user} begins`, `${user} goes on`, 'first last', `${user} ends`, `${user} ends`
    ])
    const owned = { user, threads: [thread], runs: [...runs, last.run_id ?? ''] }
    t.same(strangers([...first.events, ...back.events], owned), [])
  }
  for (const back of backs) back.drop()
  while (Object.values(gateway.load).some((count) => count > 0)) await turn()

  t.same(gateway.load, { connections: 0, users: 0, followedThreads: 0, windows: 0, topics: 0 })
  t.same(server.violations, [])
})
