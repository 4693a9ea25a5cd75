import t from 'tap'
import { defineAgent } from '../../lib/agents/define-agent.ts'
import type { ServerEvent } from '../../lib/protocol/events.ts'
import { clientOf, following, seenIn, sequencesOf, type Seen } from '../support/coming-back.ts'
import { startServer } from '../support/start-server.ts'
import { readThread } from '../support/stored-thread.ts'

type Client = Awaited<ReturnType<typeof clientOf>>

const parrot = defineAgent({ name: 'parrot', async * run ({ content }) { yield { type: 'text', text: content } } })
const server = await startServer(t, {
  agents: [parrot], env: { MAX_CONNECTIONS_PER_USER: 100, MAX_WAITING_RUNS_PER_THREAD: 1_000 }
})
const { storage } = server.app
const { epoch } = storage

/** Everything that a thread tells until a sequence, to a client that is cut off again and again on the way. */
async function readReturning (comeBack: Client['comeBack'], thread: string, total: number): Promise<readonly ServerEvent[]> {
  const received: ServerEvent[] = []
  for (let seen: Seen = { after: 0, epoch }; seen.after < total; seen = seenIn(received, seen)) {
    const socket = await comeBack(thread, seen)
    const until = Math.min(seen.after + 100, total)
    await socket.next(({ sequence }) => sequence === until)
    socket.drop()
    await socket.closed
    received.push(...socket.events.filter(({ sequence }) => sequence !== undefined))
  }
  return received
}

t.test('G96 a thousand messages of 25 senders of one user: no gap, no double, and no inversion of a sender', async (t) => {
  const [senders, each, eventsOfRun] = [25, 40, 4]
  const threads = await Promise.all(Array.from({ length: 5 }, async () => await server.thread('carol')))
  const total = senders * each * eventsOfRun / threads.length
  const { comeBack } = await clientOf(t, server, 'carol')
  const lobby = await server.thread('carol')
  const watchers = await Promise.all(threads.map(async (thread) => await comeBack(thread)))
  const sockets = await Promise.all(Array.from({ length: senders }, async () => await comeBack(lobby)))
  const sent = sockets.map((_socket, sender) => Array.from({ length: each }, (_name, index) => `${sender}-${index}`))

  for (const [sender, socket] of sockets.entries()) {
    const thread = threads[sender % threads.length]
    for (const content of sent[sender] ?? []) socket.send({ type: 'user_message', thread_id: thread, payload: { content, agent: 'parrot' } })
  }
  const returning = await Promise.all(threads.map(async (thread) => await readReturning(comeBack, thread, total)))
  for (const watcher of watchers) await watcher.next(({ sequence }) => sequence === total)

  for (const [index, thread] of threads.entries()) {
    const own = sent.filter((_names, sender) => sender % threads.length === index)
    for (const events of [watchers[index]?.events ?? [], returning[index] ?? []]) {
      const started = events.flatMap(({ type, payload }) => type === 'agent_started' && 'input' in payload ? payload.input : [])
      const answered = events.flatMap(({ type, payload }) => type === 'agent_completed' && 'content' in payload ? payload.content : [])

      t.same(sequencesOf(events), following(0, total))
      t.same(answered, started)
      t.same(own.map((names) => started.filter((name) => names.includes(name))), own, 'in the order of each sender')
      t.equal(started.length, 200)
    }
    const { messages } = await readThread(storage, 'carol', thread)
    t.equal(messages.length, 400)
  }
  t.same(server.violations, [])
})
