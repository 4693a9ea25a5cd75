import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { toThreadId } from '../../lib/protocol/ids.ts'
import { createStorage } from '../../lib/storage/open-storage.ts'
import { faultsOfThread } from '../support/conversations/check-thread.ts'
import { faultsOfReading } from '../support/conversations/check-reading.ts'
import { MortalService } from '../support/mortal-service.ts'
import { readThread } from '../support/stored-thread.ts'
import { SteadyUser, type SteadyMessage } from '../support/steady-user.ts'
import { createThrowawayDatabase } from '../support/throwaway-database.ts'
import { topology } from '../support/topology.ts'
import { within } from '../support/within.ts'

/*
 * Kills, each seen with FUZZ_SEED=7: in lib/engine/recover-runs.ts, no end of what was running, or no launch of what was queued; in
 * lib/engine/end-run.ts, no open tools, or nothing that the run has said; in `known_run` of lib/storage/migrations/0007-message-tree-accept.ts, no
 * look-up, with the unique index on client ids and without it. The fence of `append_events` cannot be missed here, because a killed process
 * appends nothing: test/acceptance/frozen-service.test.ts and test/storage/event-store.test.ts are about that.
 */

// FUZZ_SEED=42 node test/properties/kill.test.ts
const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 2 ** 31)
const kills = 7
const users = 4
const leastMessages = 15

t.setTimeout(600_000)

interface Storage { readonly dataFolder?: string, readonly databaseUrl?: string, readonly env: Readonly<Record<string, string>> }

/** When the service is killed: so many messages or frames after it has been started, and a little later; with its database, or before it. */
const anyKill = fc.oneof(
  fc.record({ after: fc.constant('sent' as const), count: fc.integer({ min: 1, max: 12 }), lateMs: fc.nat(6), whole: fc.boolean() }),
  fc.record({ after: fc.constant('received' as const), count: fc.integer({ min: 1, max: 120 }), lateMs: fc.nat(20), whole: fc.boolean() })
)
const anyMessage = fc.record({
  agent: fc.constantFrom('assistant', 'assistant', 'echo'),
  strategy: fc.constantFrom<SteadyMessage['strategy']>('enqueue', 'enqueue', 'enqueue', 'interrupt'),
  tool: fc.boolean(),
  lost: fc.constantFrom(true, false, false, false),
  seconds: fc.double({ min: 0, max: 0.1, noNaN: true }),
  unfinished: fc.nat(3)
})

const title = 'a service that is killed again and again loses no message, ends every run once, and lets nobody wait'

if (topology === 'embedded') {
  t.test(`${title}, on the embedded database`, async (t) => {
    const dataFolder = await mkdtemp(join(tmpdir(), 'threadline-'))
    t.teardown(async () => { await rm(dataFolder, { recursive: true, force: true }) })

    await killAgainAndAgain(t, { dataFolder, env: { DATA_DIR: dataFolder } })
  })
} else {
  t.test(`${title}, on a database server`, async (t) => {
    const database = await createThrowawayDatabase()
    if (database === undefined) return
    t.teardown(async () => { await database.drop() })

    const redis = topology === 'cluster' ? { REDIS_URL: process.env['TEST_REDIS_URL'] ?? '' } : {}
    await killAgainAndAgain(t, { databaseUrl: database.url, env: { DATABASE_URL: database.url, ...redis } })
  })
}

async function killAgainAndAgain (t: Test, storage: Storage): Promise<void> {
  t.comment(`FUZZ_SEED=${seed}`)
  const service = new MortalService(t, { ...storage.env, MESSAGES_PER_WINDOW: '100000' })
  const counts = { sent: createCount(), received: createCount() }
  const noting = { sent: counts.sent.add, received: counts.received.add }
  const chatting = Array.from({ length: users }, (_, index) => new SteadyUser(`user-${index}`, service, noting))
  let killed = 0

  const chats = chatting.map(async (user, index) => {
    const messages = fc.sample(anyMessage, { seed: seed + index, numRuns: 1_000 })
    for (const [number, { agent, strategy, lost, tool, seconds, unfinished }] of messages.entries()) {
      if (number >= leastMessages && killed >= kills) return
      const marker = `${user.name}:${number}`
      const content = tool ? `/tool research ${JSON.stringify({ topic: marker, seconds })}` : marker
      await user.say({ content, agent, strategy, lost })
      await user.toldEnds(unfinished)
    }
  })
  const killing = async (): Promise<void> => {
    for (const { after, count, lateMs, whole } of fc.sample(anyKill, { seed, numRuns: kills })) {
      await within(`${count} frames to be ${after}`, counts[after].more(count), 60_000)
      await delay(lateMs)
      await service.kill({ whole })
      killed += 1
    }
  }
  try {
    await Promise.all([...chats, killing()])
    await Promise.all(chatting.map((user) => user.toldEnds()))
    await Promise.all(chatting.map((user) => user.leave()))
  } catch (error) {
    t.comment(`the service said: ${(await service.running).lines.slice(-20).join('\n')}`)
    throw error
  }
  await (await service.running).kill('SIGTERM')

  const stored = await createStorage(storage)
  t.teardown(async () => { await stored.close() })
  for (const user of chatting) {
    const { messages, runs, events } = await readThread(stored, user.name, toThreadId(user.threadId))
    const record = { threadId: user.threadId, user: user.name, messages, runs: runs.toReversed(), events }

    t.same(faultsOfThread(record, user.accepted), [], `${user.name}: every message is there once, and every run has one end`)
    t.same(user.tabs.flatMap((tab) => [...tab.faults, ...faultsOfReading(tab, record)]), [], `${user.name}: told everything once and in order`)
  }
  const accepted = chatting.flatMap((user) => user.accepted)
  const [again, known] = [accepted.filter(({ sent }) => sent > 1), accepted.filter(({ duplicate }) => duplicate)]
  t.ok(accepted.length >= users * leastMessages, `${accepted.length} messages, ${again.length} sent again, ${known.length} of them known, ${killed} kills`)
}

/** Counts, and lets others wait for a count. */
function createCount (): { readonly add: () => void, more (count: number): Promise<void> } {
  let counted = 0
  const waiting: { readonly at: number, readonly resolve: () => void }[] = []
  return {
    add: () => {
      counted += 1
      for (const { at, resolve } of waiting) if (counted >= at) resolve()
    },
    more: async (count) => {
      await new Promise<void>((resolve) => { waiting.push({ at: counted + count, resolve }) })
    }
  }
}
