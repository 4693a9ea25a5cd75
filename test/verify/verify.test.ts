import t from 'tap'
import { spanOf } from '../../testing/span-of.ts'
import { verify } from '../../verify/verify.ts'
import { createGatedAgent } from '../support/gated-agent.ts'
import { httpClient } from '../support/http-client.ts'
import { listener } from '../support/listener.ts'
import { untilSessions } from '../support/run-end.ts'
import { startServer } from '../support/start-server.ts'
import type { TestSocket } from '../support/test-socket.ts'

// What users do to a real service, over real sockets and HTTP, and what the verifier says of its spans as if a day had passed.

const gated = createGatedAgent()
const { arrived } = gated
const server = await startServer(t, { agents: [gated.agent] })

/** Sends a message whose run waits for its gate, and resolves with the id of the run. */
async function begin (socket: TestSocket, content: string, more: Record<string, unknown> = {}): Promise<string | undefined> {
  return (await socket.ask({ type: 'user_message', payload: { content, agent: 'gated', ...more } })).run_id
}

async function untilEnded (socket: TestSocket, ...runIds: readonly (string | undefined)[]): Promise<void> {
  await Promise.all(runIds.map((runId) => socket.until('agent_completed', (event) => event.run_id === runId)))
}

const scenes: Readonly<Record<string, () => Promise<void>>> = {
  async 'two users chat at once, with tools' () {
    const [alice, bob] = [await server.connect('alice'), await server.connect('bob')]
    await Promise.all([alice.chat('hello'), bob.chat('what is 12 * 7?'), alice.ask({ type: 'ping', payload: {} })])
  },

  async 'two users send messages over HTTP, as streams and without' () {
    for (const user of ['alice', 'bob']) {
      const thread = await server.thread(user)
      const [http, reader] = [await httpClient(server, user), await listener(t, server, user)]
      await (await reader.run(thread, { content: 'hello' })).closed
      const socket = await server.connect(user, { thread })
      const { body } = await http('POST', `/v1/threads/${thread}/runs`, { content: 'what is 3 * 4?' })
      await untilEnded(socket, (body as { run_id?: string }).run_id)
      await http('GET', `/v1/threads/${thread}/messages`)
      await http('GET', '/v1/threads/not-a-thread/messages')
      const again = await http('POST', `/v1/threads/${thread}/runs/regenerate`, {})
      await untilEnded(socket, (again.body as { run_id?: string }).run_id)
    }
  },

  async 'runs wait, and are stopped, interrupted and rolled back' () {
    const socket = await server.connect('alice', { thread: await server.thread('alice') })
    const first = await begin(socket, 'a first')
    await arrived.next((content) => content === 'a first')
    const waiting = await begin(socket, 'a second')
    await socket.ask({ type: 'stop_agent', payload: { run_id: waiting } })
    await untilEnded(socket, waiting)
    const interrupting = await begin(socket, 'a third', { multitask_strategy: 'interrupt' })
    await untilEnded(socket, first)
    await arrived.next((content) => content === 'a third')
    const last = await begin(socket, 'a fourth', { multitask_strategy: 'rollback' })
    await untilEnded(socket, interrupting)
    await arrived.next((content) => content === 'a fourth')
    gated.open('a fourth')
    await untilEnded(socket, last)
  },

  async 'a user switches while a run goes on, comes back, and is told what was missed' () {
    const [one, other] = [await server.thread('alice'), await server.thread('alice')]
    const socket = await server.connect('alice', { thread: one })
    const [established] = socket.ofType('connection_established')
    const watching = await server.connect('alice', { thread: one })
    const runId = await begin(socket, 'elsewhere')
    await arrived.next((content) => content === 'elsewhere')
    await socket.ask({ type: 'switch_thread', payload: { thread_id: other } })
    gated.open('elsewhere')
    await untilEnded(watching, runId)
    await socket.ask({ type: 'resume', thread_id: one, payload: { after: 0, epoch: established?.payload.epoch } })
    const message = { type: 'user_message', id: 'twice', payload: { content: 'hello' } }
    const { run_id: once } = await socket.ask(message)
    await untilEnded(socket, once)
    await socket.ask(message)
  },

  async 'threads are made, renamed, forked, branched, deleted, and asked for by others' () {
    const socket = await server.connect('alice', { thread: await server.thread('alice') })
    const bob = await server.connect('bob')
    const { thread_id: threadId } = await socket.chat('hello')
    for (const type of ['rename_thread', 'fork_thread', 'get_thread', 'archive_thread', 'restore_thread', 'delete_thread']) {
      await socket.ask({ type, payload: { thread_id: threadId, ...(type === 'rename_thread' ? { title: 'Renamed' } : {}) } })
      await bob.ask({ type, payload: { thread_id: threadId, ...(type === 'rename_thread' ? { title: 'Taken' } : {}) } })
    }
    await socket.ask({ type: 'create_thread', payload: {} })
    await socket.ask({ type: 'nonsense', payload: {} })
  }
}

// Kill: `enterRun` of lib/engine/enter-run.ts without `parent`, so that a run is taken from the queue without its carrier.
for (const [title, play] of Object.entries(scenes)) {
  t.test(`every trace is clean when ${title}`, async (t) => {
    server.spans.reset()

    await play()
    await untilSessions(server.app.engine, 0)

    const { verdict, findings, incomplete, traces } = verify(server.spans.spans().map(spanOf), { nowMs: Date.now() + 86_400_000 })
    t.same(findings, [])
    t.same(incomplete, [])
    t.equal(verdict, 'clean')
    t.ok(traces.clean >= 4, `${traces.clean} traces`)
  })
}
