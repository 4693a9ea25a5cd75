import t from 'tap'
import { canaryAgent } from '../../lib/canary/canary-agent.ts'
import { canaryUsers } from '../../lib/canary/canary-users.ts'
import { markersIn } from '../../lib/canary/markers.ts'
import { playRound, type RoundOptions } from '../../lib/canary/round.ts'
import { Watch } from '../../lib/canary/watch.ts'
import type { ThreadEvent } from '../../lib/protocol/events.ts'
import { newThreadId } from '../../lib/protocol/ids.ts'
import { actingAs } from '../support/acting-as.ts'
import { startServer } from '../support/start-server.ts'
import { watchCanary } from '../support/watch-canary.ts'

const server = await startServer(t, { agents: [canaryAgent] })
const { gateway, storage, engine, eventLog: log, log: logger } = server.app
const real = { gateway, storage, engine, log }
const never = new AbortController().signal
const { a, b } = canaryUsers

/** Plays one round with a part of the server exchanged. */
async function play (exchanged: Partial<RoundOptions> = {}, signal = never): Promise<void> {
  const watch = new Watch(logger)
  const unwatch = gateway.onSent(watch.sent)
  try {
    await playRound({ ...real, watch, ...exchanged }, signal)
  } finally {
    unwatch()
  }
}

const storedOf = (user: string) => actingAs(user, () => storage.account.usage())

t.test('on a server that keeps everybody apart a round finds nothing', async (t) => {
  const canary = watchCanary(t)

  await play()

  t.same(canary.crossings, [])
  t.same(server.violations, [])
})

/*
 * Kills, by each of which the first test of test/plugins/canary.test.ts hears the alarm, and at which places:
 * - no guards in `writeThreadEvent` of lib/gateway/connection.ts, one `keyOf` for all in lib/gateway/subscriptions.ts, and `return this.send(…)` where
 *   `told === undefined`: `frame` and `received`. With the guards: `guard`. With a `keyOf` of the user alone: between the two threads of one user
 * - row-level security off (`using (true)`), and no owner in `anyOwnThread` of lib/storage/own-thread.ts: `guard` and `read`. Without the guard: `read`
 * - row-level security off, and no owner in lib/storage/thread-search.ts: `guard`. Without the guard: `search`
 * - all users' connections in `#own` of lib/gateway/connection-registry.ts: `guard` and `read`
 * - no `isOwner` in `read` of lib/events/recent-events.ts: `read`
 */

/** A store that answers anybody, one for each thing that a canary asks for. */
const leaks: Readonly<Record<string, Partial<RoundOptions>>> = {
  'threads.state': { storage: { ...storage, threads: { ...storage.threads, state: async () => ({}) as never } } },
  'threads.search': {
    storage: { ...storage, threads: { ...storage.threads, search: async () => ({ results: [{} as never], nextCursor: null }) } }
  },
  'messages.history': { storage: { ...storage, messages: { ...storage.messages, history: async () => ({ messages: [], hasMore: false }) } } },
  'runs.require': { storage: { ...storage, runs: { ...storage.runs, require: async () => ({}) as never } } },
  'runs.firstSequence': { storage: { ...storage, runs: { ...storage.runs, firstSequence: async () => 1 } } },
  'events.read': { storage: { ...storage, events: { ...storage.events, read: async () => [] } } },
  'event-log': { log: { ...log, read: async (): Promise<readonly ThreadEvent[]> => [] } },
  get_thread: { gateway: { ...gateway, perform: async () => ({}) as never } },
  export_thread: { gateway: { ...gateway, exportThread: async () => ({}) as never } }
}

for (const [what, exchanged] of Object.entries(leaks)) {
  t.test(`what answers anybody is found: ${what}`, async (t) => {
    const canary = watchCanary(t)

    await play(exchanged)

    t.ok(canary.crossings.some((crossing) => crossing.where === 'read' && crossing.what === what))
    t.same(new Set(canary.crossings.map(({ canary, foundAt }) => `${canary} ${foundAt}`)), new Set([`${a} ${b}`, `${b} ${a}`]), 'by both users, of the other')
  })
}

t.test('a way that cannot be tried hinders none of the others, and the round has failed', async (t) => {
  const canary = watchCanary(t)
  const perform: typeof gateway.perform = async () => { throw new Error('It cannot be tried') }
  const runs = { ...storage.runs, firstSequence: async () => 1 }

  await t.rejects(play({ gateway: { ...gateway, perform }, storage: { ...storage, runs } }), { message: 'It cannot be tried' })

  t.match(canary.crossings, [{ where: 'read', what: 'runs.firstSequence' }])
})

// kill: no `own.has(thread.thread_id) ||` in `leaveNothing` of lib/canary/round.ts
t.test('a round that is given up leaves nothing behind, wherever it was', async (t) => {
  const moments = new Map<string, number>()
  const stops = gateway.onSent(({ event: { type } }) => { moments.set(type, (moments.get(type) ?? 0) + 1) })
  await play()
  stops()

  for (const type of moments.keys()) {
    const giveUp = new AbortController()
    const unlisten = gateway.onSent(({ event }) => { if (event.type === type) giveUp.abort(new Error(`given up at ${type}`)) })
    await t.rejects(play({}, giveUp.signal), { message: `given up at ${type}` })
    unlisten()

    t.match([await storedOf(a), await storedOf(b)], [{ threads: 0, runs: 0 }, { threads: 0, runs: 0 }], type)
  }
  t.match(gateway.load, { connections: 0, followedThreads: 0 })
  t.match(engine.load, { sessions: 0, runs: 0 })
})

t.test('what a process left that was killed is cleared away by a later round, and what may be of another one that plays is not', async (t) => {
  const [old, deleted, young] = [newThreadId(), newThreadId(), newThreadId()]
  await actingAs(a, async () => {
    for (const threadId of [old, deleted, young]) await storage.threads.create(threadId)
    await storage.threads.remove(deleted)
  })
  // Time cannot be waited for.
  const list: typeof storage.threads.list = async (page) => {
    const { threads, ...rest } = await storage.threads.list(page)
    return { ...rest, threads: threads.map((thread) => thread.thread_id === young ? thread : { ...thread, created_at: '2020-01-01T00:00:00.000Z' }) }
  }

  await play({ storage: { ...storage, threads: { ...storage.threads, list } } })

  t.match(await storedOf(a), { threads: 1 })
  t.match(await actingAs(a, () => storage.threads.require(young)), { thread_id: young })
})

t.test('a word of a canary is found in a text, and a shorter one is none', async (t) => {
  const word = `threadlinecanary${'0123456789abcdef'.repeat(2)}`

  t.same([...markersIn(`{"a":"${word}","b":"${word}"}`)], [word])
  t.same([...markersIn(`threadlinecanary ${word.slice(0, -1)}`)], [])
})
