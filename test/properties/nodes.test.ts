import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { defineAgent } from '../../lib/agents/define-agent.ts'
import type { Identity } from '../../lib/context/identity.ts'
import { createInProcessHub, type InProcessHub } from '../../lib/events/in-process-bus.ts'
import { newThreadId } from '../../lib/protocol/ids.ts'
import type { Storage } from '../../lib/stores/storage.ts'
import { doSomething, type BusyThread } from '../support/busy-thread.ts'
import { createRandom, type SeededRandom } from '../support/cluster/histories/seeded-random.ts'
import { faultsOfThread } from '../support/conversations/check-thread.ts'
import { expectedMessages, faultsOfTree, readTree } from '../support/conversations/check-tree.ts'
import { startNode, type EngineNode } from '../support/engine-nodes.ts'
import { createFaultyStorage } from '../support/faulty-storage.ts'
import { as, newcomer, onEachDatabase } from '../support/storage-databases.ts'
import { readThread } from '../support/stored-thread.ts'
import { within } from '../support/within.ts'

// kill: `append_events` (0007) takes any attempt; `readPast` of lib/engine/run-past.ts finds nothing.

// FUZZ_RUNS=50 FUZZ_SEED=42 node test/properties/nodes.test.ts: the same is asked for, but not in the same order, since it happens at the same time.
const rounds = Number(process.env['FUZZ_RUNS'] ?? 6)
const firstSeed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 2 ** 31)

t.setTimeout(Math.max(280_000, rounds * 30_000))

/** Shorter than what a run may take when the storage is slow: runs are taken over while somebody still executes them. */
const leaseMs = 200

onEachDatabase(t, async (t, { storage }) => {
  for (let seed = firstSeed; seed < firstSeed + rounds; seed += 1) {
    t.test('whatever users do while workers come and go and lose their storage, each thread keeps its story and its messages', async (t) => {
      t.comment(`FUZZ_SEED=${seed}`)
      const random = createRandom(seed)
      const user = newcomer('busy')
      const stage = await openStage(t, storage, random)
      const threads = await Promise.all([1, 2].map(async () => await openThread(storage, user, stage)))

      const doMuch = async (): Promise<void> => { for (let done = 0; done < 40; done += 1) await doSomething(random.pick(threads)) }
      const troubles = stage.makeTrouble()
      await Promise.all([doMuch(), doMuch(), doMuch()])
      await troubles.end()

      for (const thread of threads) t.same(await faultsOf(thread), [], 'of the thread')
    })
  }
})

interface Stage extends Pick<BusyThread, 'random' | 'anyNode' | 'agent'> {
  /** Workers are closed, and others started, from time to time. */
  readonly makeTrouble: () => { readonly end: () => Promise<void> }
}

/** Two nodes that accept, and three workers whose storage fails now and then. */
async function openStage (t: Test, storage: Storage, random: SeededRandom): Promise<Stage> {
  const hub: InProcessHub = createInProcessHub()
  const trouble = { isOver: false }
  const agent = talkative(random)
  const startWorker = async (): Promise<EngineNode> => await startNode(
    t, createFaultyStorage(storage, { random, isTroubled: () => !trouble.isOver }), hub, { leaseMs, pollIntervalMs: 50, maxRunAttempts: 100, agents: [agent] }
  )
  const gateways = [await startNode(t, storage, hub, { executes: false }), await startNode(t, storage, hub, { executes: false })]
  const workers = [await startWorker(), await startWorker(), await startWorker()]
  t.teardown(() => { trouble.isOver = true })

  const change = async (): Promise<void> => {
    while (!trouble.isOver) {
      await sleep(random.between(50, 400))
      workers.push(await startWorker())
      await workers.shift()?.engine.close(random.between(0, 50))
    }
  }
  return {
    random,
    agent: agent.name,
    anyNode: () => random.pick(gateways).engine,
    makeTrouble () {
      const changing = change()
      changing.catch(() => undefined) // told at the end
      return {
        async end () {
          trouble.isOver = true
          await changing
        }
      }
    }
  }
}

/** It takes its time, heeds its signal or does not, and fails sometimes. */
function talkative (random: SeededRandom) {
  return defineAgent({
    name: 'talkative',
    async * run ({ content, signal }) {
      const words = random.between(0, 7)
      for (let said = 0; said < words; said += 1) {
        yield { type: 'text', text: `${said} of ${content} ` }
        await sleep(random.between(0, 120))
        if (signal.aborted && random.next() < 0.5) return
      }
      if (random.next() < 0.1) throw new Error('The agent has failed')
    }
  })
}

async function openThread (storage: Storage, user: Identity, stage: Stage): Promise<BusyThread> {
  const threadId = newThreadId()
  await as(user, async () => await storage.threads.create(threadId))
  return { ...stage, storage, user, threadId, accepted: [] }
}

/** What is wrong with what is stored of the thread, once each of its runs has ended. */
async function faultsOf ({ storage, user, threadId, accepted }: BusyThread): Promise<readonly string[]> {
  const ended = async (): Promise<void> => {
    while ((await as(user, async () => await storage.runs.unfinished(threadId))).length > 0) await sleep(30)
  }
  await within('the end of every run', ended(), 30_000)
  const { messages, runs, events } = await readThread(storage, user.userId, threadId)
  const record = { threadId, user: user.userId, messages, runs: runs.toReversed(), events, branched: true }
  const known = [...expectedMessages(record, accepted).keys()]
  const tree = await as(user, async () => await readTree(storage.messages, threadId, known))
  return [...faultsOfThread(record, accepted), ...faultsOfTree(record, tree, accepted)]
}
