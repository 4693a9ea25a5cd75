import { setTimeout as sleep } from 'node:timers/promises'
import { createIdentity, type Identity } from '../../lib/context/identity.ts'
import type { Engine } from '../../lib/engine/engine.ts'
import type { StopReason } from '../../lib/engine/run-outcome.ts'
import { signCarrier } from '../../lib/context/carrier.ts'
import { isThreadlineError, type ErrorCode } from '../../lib/errors.ts'
import type { MultitaskStrategy } from '../../lib/protocol/commands.ts'
import { toMessageId, toRunId, type ThreadId } from '../../lib/protocol/ids.ts'
import type { Acceptance } from '../../lib/stores/run-store.ts'
import type { Storage } from '../../lib/stores/storage.ts'
import type { SeededRandom } from './cluster/histories/seeded-random.ts'
import type { AcceptedOne } from './conversations/check-thread.ts'
import { signed, testSigner } from './engine-parts.ts'
import { as, messageOf, regenerationOf } from './storage-databases.ts'

/** A thread in which several things are done at the same time, each on a node that was drawn. */
export interface BusyThread {
  readonly storage: Storage
  readonly user: Identity
  readonly threadId: ThreadId
  readonly random: SeededRandom
  readonly anyNode: () => Engine
  readonly agent: string
  /** All that was accepted, in the order in which that was known. */
  readonly accepted: AcceptedOne[]
}

const strategies: readonly MultitaskStrategy[] = [...Array.from({ length: 9 }, () => 'enqueue' as const), 'interrupt', 'rollback', 'reject']
const replacing: Partial<Record<MultitaskStrategy, StopReason>> = { interrupt: 'interrupted', rollback: 'rolled_back' }
/** What may be said of a thread that others change at the same time. */
const expected: readonly ErrorCode[] = [
  'THREADLINE_THREAD_NOT_FOUND', 'THREADLINE_NOT_FOUND', 'THREADLINE_THREAD_BUSY', 'THREADLINE_QUEUE_FULL', 'THREADLINE_RUN_NOT_FOUND'
]

const actions = {
  send: async (thread: BusyThread) => { await send(thread, undefined) },
  edit: async (thread: BusyThread) => { await send(thread, lately(thread)) },
  regenerate: async (thread: BusyThread) => { await regenerate(thread, lately(thread)) },
  regenerateNewest: async (thread: BusyThread) => { await regenerate(thread, undefined) },
  select: async (thread: BusyThread) => {
    const message = lately(thread)
    if (message !== undefined) await inside(thread, async () => { await thread.storage.messages.selectBranch(thread.threadId, toMessageId(message.messageId)) })
  },
  stop: async (thread: BusyThread) => { await inside(thread, async () => await thread.anyNode().stop({ reason: 'cancelled' })) },
  stopOne: async (thread: BusyThread) => {
    const run = lately(thread)
    if (run !== undefined) await inside(thread, async () => await thread.anyNode().stop({ runId: toRunId(run.runId), reason: 'cancelled' }))
  },
  deleteAndRestore: async (thread: BusyThread) => {
    const { storage, random, threadId, anyNode } = thread
    await inside(thread, async () => {
      const node = anyNode()
      await node.stop({ reason: 'cancelled' })
      await node.idle(random.between(1, 200))
      await storage.threads.remove(threadId)
      await sleep(random.between(0, 100))
      await storage.threads.restore(threadId)
    })
  },
  pause: async ({ random }: BusyThread) => { await sleep(random.between(0, 150)) }
} as const

const usual: readonly (keyof typeof actions)[] = [
  'send', 'send', 'send', 'edit', 'regenerate', 'regenerateNewest', 'select', 'stopOne', ...Array.from({ length: 10 }, () => 'pause' as const)
]
const rare: readonly (keyof typeof actions)[] = ['stop', 'deleteAndRestore']

/** Does something in the thread, as users do it: seldom something that ends all that is under way. Throws what must not go wrong. */
export async function doSomething (thread: BusyThread): Promise<void> {
  const action = thread.random.pick(thread.random.next() < 0.04 ? rare : usual)
  try {
    await actions[action](thread)
  } catch (error) {
    if (!expected.some((code) => isThreadlineError(error, code))) throw error
  }
}

function inside<T> ({ user: { userId }, threadId }: BusyThread, fn: () => T): T {
  return as(createIdentity({ userId, threadId }), fn)
}

function lately ({ accepted, random }: BusyThread): AcceptedOne | undefined {
  return accepted.length === 0 ? undefined : random.pick(accepted.slice(-4))
}

async function send (thread: BusyThread, editOf: AcceptedOne | undefined): Promise<void> {
  const { storage, user, threadId, random, agent } = thread
  const content = crypto.randomUUID()
  const strategy = random.pick(strategies)
  const edited = editOf === undefined ? {} : { editOf: toMessageId(editOf.messageId) }
  const message = signed(user, messageOf({ threadId, content, agent, strategy, maxWaiting: 6, ...edited }))
  await begin(thread, await as(user, async () => await storage.runs.accept(message)), content, strategy)
}

async function regenerate (thread: BusyThread, about: AcceptedOne | undefined): Promise<void> {
  const { storage, user, threadId, random, agent } = thread
  const strategy = random.pick(strategies)
  const run = regenerationOf({ threadId, agent, strategy, maxWaiting: 6, messageId: about === undefined ? undefined : toMessageId(about.messageId) })
  const { userId, requestId } = user
  const signature = signCarrier(testSigner, { userId, threadId, runId: run.runId, requestId, connectionId: undefined, traceparent: undefined })
  const acceptance = await as(user, async () => await storage.runs.regenerate({ ...run, signature }))
  const { input } = await as(user, async () => await storage.runs.require(acceptance.runId))
  await begin(thread, acceptance, input, strategy)
}

/** As a gateway does it, unless it dies before. */
async function begin (thread: BusyThread, { runId, messageId }: Acceptance, content: string, strategy: MultitaskStrategy): Promise<void> {
  const { accepted, random, anyNode } = thread
  accepted.push({ runId, messageId, content })
  const node = anyNode()
  if (random.next() < 0.2) return
  inside(thread, () => { node.launch() })
  const reason = replacing[strategy]
  if (random.next() < 0.2 || reason === undefined) return
  await inside(thread, async () => await node.stop({ before: runId, reason }))
}
