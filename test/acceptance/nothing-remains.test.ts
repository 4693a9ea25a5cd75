import { createHook } from 'node:async_hooks'
import type { EventEmitter } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { defineAgent } from '../../lib/agents/define-agent.ts'
import { currentRun } from '../../lib/context/current-thread.ts'
import type { RunIdentity } from '../../lib/context/identity.ts'
import type { Connection } from '../../lib/gateway/connection.ts'
import { toRunId } from '../../lib/protocol/ids.ts'
import { actingAs } from '../support/acting-as.ts'
import { createArrivals } from '../support/arrivals.ts'
import { listener } from '../support/listener.ts'
import { endOfRun, untilSessions } from '../support/run-end.ts'
import { startServer } from '../support/start-server.ts'
import type { TestSocket } from '../support/test-socket.ts'
import { within } from '../support/within.ts'

// What the server holds when everybody has left, measured in the process itself. Windows and heartbeats are shorter than in production,
// to see the sweep happen.

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void // the flag has just put it there

const armed = watchTimers()
/** The files whose timers are the server's own, and stay as long as it does. */
const housekeeping = ['lib/engine/engine.ts', 'lib/gateway/gateway.ts', 'lib/storage/purge-loop.ts']
/** The files whose timers come and go as long as the server lives, whoever is there: how it listens to other nodes, and looks for work. */
const listening = ['lib/events/postgres-bus.ts', 'lib/events/redis-connection.ts', 'lib/queue/queue-poller.ts']
/** Of each run what must not outlive it. */
const held: { readonly identity: WeakRef<RunIdentity>, readonly signal: WeakRef<AbortSignal> }[] = []
const gates = new Map<string, PromiseWithResolvers<void>>()
const begun = createArrivals<string>()

/** Waits until the test lets it go on or it is stopped, listens to its signal and never stops listening, and uses a tool. */
const careless = defineAgent({
  name: 'careless',
  tools: ['current_time'],
  async * run ({ content, signal, callTool }) {
    held.push({ identity: new WeakRef(currentRun()), signal: new WeakRef(signal) })
    const gate = Promise.withResolvers<void>()
    signal.addEventListener('abort', () => { gate.resolve() })
    gates.set(content, gate)
    begun.push(content)
    await gate.promise
    gates.delete(content)
    signal.throwIfAborted()
    await callTool('current_time', {})
    if (content.startsWith('fails')) throw new Error(content)
    yield { type: 'text', text: content }
  }
})

const server = await startServer(t, {
  agents: [careless],
  env: { DEFAULT_AGENT: 'careless', HEARTBEAT_INTERVAL_MS: 100, HEARTBEAT_TIMEOUT_MS: 60_000, MESSAGE_WINDOW_MS: 1, TITLE_MODEL: 'local', MAX_CONCURRENT_RUNS: 64 }
})
const { gateway, engine, eventLog } = server.app

// Kills, each alone: no `clock.stop()` in `end` of lib/gateway/attachment.ts; no `open.delete` in `attach`, or no `window.sweep()`, in
// lib/gateway/gateway.ts; no `clearTimeout` in `limitTime` of lib/engine/execute-run.ts.
t.test('K130 G99 after fifty threads at once, when all runs have ended and everybody has left, no context, session, connection, listener or timer remains', async (t) => {
  await chatInEveryWay('warm', 5)
  await untilAllIsQuiet()
  const before = { live: liveState(), timers: timersOf(housekeeping), listeners: listenerCounts() }
  held.length = 0

  const connections = await chatInEveryWay('user', 50)
  await untilAllIsQuiet()

  t.strictSame(liveState(), {
    connections: 0, users: 0, followedThreads: 0, windows: 0, topics: 0, sessions: 0, runs: 0, slotsTaken: 0, waiting: 0, followed: 0, sockets: 0, waitingForTheTest: 0
  })
  t.strictSame(liveState(), before.live)
  t.strictSame(timersOf(housekeeping), before.timers, 'of the server only its own housekeeping has timers')
  t.strictSame(listenerCounts(), before.listeners)
  t.equal(held.length, 50)
  t.equal(connections.length, 60, 'fifty sockets and ten streams')
  const alive = await stillAlive([...connections, ...held.flatMap(({ identity, signal }) => [identity, signal])])
  t.same(alive, [], 'nobody holds a connection, an identity or a signal any more')
  t.equal(server.violations.length, 0)
})

/**
 * Five threads of each user at once, in each a run that is let go on, is stopped, loses its thread or its socket, or fails; and one of each user's
 * threads is followed as a stream too. Resolves with what the connections were, when all sockets and streams were left.
 */
async function chatInEveryWay (name: string, threads: number): Promise<readonly WeakRef<Connection>[]> {
  const users = Array.from({ length: 10 }, (_, index) => `${name}-${index}`).slice(0, Math.max(1, threads / 5))
  const chats = await Promise.all(Array.from({ length: threads }, async (_, index) => {
    const user = users[index % users.length] ?? name
    const thread = await server.thread(user)
    return { user, thread, index, socket: await server.connect(user, { thread }), content: `${index % 5 === 4 ? 'fails' : 'goes on'} ${name} ${index}` }
  }))
  const streams = await Promise.all(chats.slice(0, users.length).map(async ({ user, thread }) => {
    const stream = await (await listener(t, server, user)).follow(thread)
    await stream.until('connection_established')
    return stream
  }))
  const accepted = await Promise.all(chats.map(async ({ socket, content }) => await socket.ask({ type: 'user_message', payload: { content } })))
  for (const { content } of chats) await begun.next((at) => at === content)
  const connections = users.flatMap((user) => actingAs(user, () => [...gateway.registry.getUserConnections()].map((connection) => new WeakRef(connection))))

  await Promise.all(chats.map(async (chat, index) => { await leave(chat, toRunId(accepted[index]?.run_id)) }))
  for (const stream of streams) stream.drop()
  return connections
}

interface Chat { readonly user: string, readonly index: number, readonly socket: TestSocket, readonly content: string, readonly thread: string }

async function leave ({ user, index, socket, content, thread }: Chat, runId: ReturnType<typeof toRunId>): Promise<void> {
  const way = index % 5
  if (way === 1) await socket.ask({ type: 'stop_agent', payload: { run_id: runId } })
  if (way === 2) await socket.ask({ type: 'delete_thread', payload: { thread_id: thread } })
  if (way === 3) socket.drop()
  gates.get(content)?.resolve()
  if (way !== 2) await endOfRun(server.app, user, runId)
  await socket.close()
}

async function untilAllIsQuiet (): Promise<void> {
  await within('nothing to run', untilSessions(engine, 0))
  const isQuiet = (): boolean => Object.values(liveState()).every((count) => count === 0)
  await within(() => `everybody to be gone: ${JSON.stringify(liveState())}`, (async () => { while (!isQuiet()) await turn() })())
  const atWork = (): readonly string[] => {
    const own = [...timersOf(housekeeping), ...timersOf(listening)]
    return [...armed.values()].filter((line) => !own.includes(line))
  }
  await within(() => `these timers to be gone: ${atWork().join(', ')}`, (async () => { while (atWork().length > 0) await turn() })())
}

function timersOf (files: readonly string[]): readonly string[] {
  return [...armed.values()].filter((line) => files.includes(line.replace(/:.*/, ''))).toSorted()
}

function liveState () {
  return { ...gateway.load, ...engine.load, followed: eventLog.followed, sockets: server.app.websocketServer.clients.size, waitingForTheTest: gates.size }
}

function listenerCounts (): Readonly<Record<string, number>> {
  const emitters: Readonly<Record<string, EventEmitter>> = {
    process, server: server.app.server, websocketServer: server.app.websocketServer, output: process.stdout, errors: process.stderr
  }
  return Object.fromEntries(Object.entries(emitters).flatMap(([name, emitter]) =>
    emitter.eventNames().map((event) => [`${name} ${String(event)}`, emitter.listenerCount(event)])))
}

/** The timers of this process that were armed by the product itself, also those that keep no process alive, each with the line that has armed it. */
function watchTimers (): ReadonlyMap<number, string> {
  const root = fileURLToPath(new URL('../../', import.meta.url))
  const product = new RegExp(`${RegExp.escape(root)}((?:lib|plugins|routes)/.*):\\d+\\)?$`, 'm')
  const timers = new Map<number, string>()
  createHook({
    init (id, type) {
      if (type !== 'Timeout') return
      const { stack = '' } = new Error()
      const line = product.exec(stack)?.[1]
      if (line !== undefined && !stack.includes('/node_modules/pg-pool/')) timers.set(id, line) // connections of the pool end after a while
    },
    destroy (id) { timers.delete(id) }
  }).enable()
  return timers
}

/** What is left of these when garbage was collected, for a while again and again. */
async function stillAlive (refs: readonly WeakRef<object>[]): Promise<readonly object[]> {
  const alive = (): object[] => refs.flatMap((ref) => ref.deref() ?? [])
  for (let round = 0; round < 50; round += 1) {
    collectGarbage()
    await turn()
    if (!refs.some((ref) => ref.deref() !== undefined)) return []
  }
  return alive()
}
