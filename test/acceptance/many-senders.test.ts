import t from 'tap'
import { defineAgent } from '../../lib/agents/define-agent.ts'
import type { ServerEvent } from '../../lib/protocol/events.ts'
import { clientOf, following, seenIn, sequencesOf, type Seen } from '../support/coming-back.ts'
import { startServer } from '../support/start-server.ts'
import { readThread } from '../support/stored-thread.ts'

const parrot = defineAgent({ name: 'parrot', async * run ({ content }) { yield { type: 'text', text: content } } })
const server = await startServer(t, {
  agents: [parrot], env: { MAX_CONNECTIONS_PER_USER: 100, MAX_WAITING_RUNS_PER_THREAD: 2_000 }
})
const { storage } = server.app
const { epoch } = storage

t.test('G96 a thousand messages of 25 senders in one thread: no gap, no double, and no inversion of a sender', async (t) => {
  const [senders, each] = [25, 40]
  const thread = await server.thread('carol')
  const { comeBack } = await clientOf(t, server, 'carol')
  const lobby = await server.thread('carol')
  const watcher = await comeBack(thread)
  const sockets = await Promise.all(Array.from({ length: senders }, async () => await comeBack(lobby)))
  const names = sockets.map((_socket, sender) => Array.from({ length: each }, (_name, index) => `${sender}-${index}`))
  const eventsOfRun = 4

  for (const [sender, socket] of sockets.entries()) {
    for (const content of names[sender] ?? []) socket.send({ type: 'user_message', thread_id: thread, payload: { content, agent: 'parrot' } })
  }
  const total = senders * each * eventsOfRun
  const returning: ServerEvent[] = []
  for (let seen: Seen = { after: 0, epoch }; seen.after < total; seen = seenIn(returning, seen)) {
    const socket = await comeBack(thread, seen)
    const until = Math.min(seen.after + 300, total)
    await socket.next(({ sequence }) => sequence === until)
    socket.drop()
    await socket.closed
    returning.push(...socket.events.filter(({ sequence }) => sequence !== undefined))
  }
  await watcher.next(({ sequence }) => sequence === total)

  for (const events of [watcher.events, returning]) {
    t.same(sequencesOf(events), following(0, total))
    const started = events.flatMap(({ type, payload }) => type === 'agent_started' && 'input' in payload ? payload.input : [])
    const answered = events.flatMap(({ type, payload }) => type === 'agent_completed' && 'content' in payload ? payload.content : [])
    t.same(answered, started)
    for (const [sender, sent] of names.entries()) t.same(started.filter((name) => name.startsWith(`${sender}-`)), sent)
  }
  const { messages, runs } = await readThread(storage, 'carol', thread)
  t.same([messages.length, runs.length], [1_000, 1_000], 'the newest thousand of both')
})
