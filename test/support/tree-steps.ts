import fc from 'fast-check'
import type { Identity } from '../../lib/context/identity.ts'
import { newMessageId, newRunId, newThreadId, toMessageId, toRunId, type ThreadId } from '../../lib/protocol/ids.ts'
import type { RunRecord } from '../../lib/stores/run-record.ts'
import type { Storage } from '../../lib/stores/storage.ts'
import type { MessageTreeModel } from './message-tree-model.ts'
import { as, completionOf, lease, messageOf, regenerationOf } from './storage-databases.ts'

/** One thing that happens in a thread. `pick` counts back from the newest message or run that it can happen to. */
export interface TreeStep { readonly kind: keyof typeof steps, readonly pick: number }

/** A thread in the database, and the model of what it should be. After a fork it is the new one. */
export interface TreeUnderTest {
  readonly storage: Storage
  readonly user: Identity
  threadId: ThreadId
  model: MessageTreeModel
  /** What each client id was used for. */
  readonly sent: string[]
}

const steps = {
  accept: async (tree: TreeUnderTest) => { await accept(tree, undefined) },
  edit: async (tree: TreeUnderTest, pick: number) => { await accept(tree, chosen(tree.model.userMessages, pick)?.id) },
  regenerate: async (tree: TreeUnderTest, pick: number) => { await regenerate(tree, chosen(tree.model.messages, pick)?.id) },
  regenerateNewest: async (tree: TreeUnderTest) => { await regenerate(tree, undefined) },
  claim: async ({ storage, user, threadId }: TreeUnderTest) => { await as(user, async () => await storage.runs.claimNext(threadId, lease)) },
  takeOver: async (tree: TreeUnderTest) => { await takeOver(tree) },
  answer: async (tree: TreeUnderTest) => { await endOldest(tree, true) },
  fail: async (tree: TreeUnderTest) => { await endOldest(tree, false) },
  cancel: async (tree: TreeUnderTest, pick: number) => { await endEarly(tree, pick, 'cancelled') },
  rollBack: async (tree: TreeUnderTest, pick: number) => { await endEarly(tree, pick, 'rolled_back') },
  select: async ({ model, storage, user, threadId }: TreeUnderTest, pick: number) => {
    const message = chosen(model.messages, pick)
    if (message === undefined) return
    await as(user, async () => { await storage.messages.selectBranch(threadId, toMessageId(message.id)) })
    model.select(message.id)
  },
  fork: async (tree: TreeUnderTest, pick: number) => { await fork(tree, chosen(tree.model.messages, pick)?.id) },
  removeAndRestore: async ({ model, storage, user, threadId }: TreeUnderTest) => {
    await as(user, async () => { await storage.threads.remove(threadId) })
    for (const { id } of model.unfinished) model.end(id)
    await as(user, async () => await storage.threads.restore(threadId))
  },
  sendAgain: async ({ sent, storage, user, threadId }: TreeUnderTest, pick: number) => {
    const content = chosen(sent, pick)
    if (content === undefined) return
    const { duplicate } = await as(user, async () => await storage.runs.accept(messageOf({ threadId, clientId: content, content })))
    if (!duplicate) throw new Error('What was accepted was accepted again')
  }
} as const

/** Mostly of the newest messages and runs, since those have something going on around them. */
const pick = fc.oneof({ weight: 3, arbitrary: fc.nat(2) }, { weight: 1, arbitrary: fc.nat(30) })

const kind = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom<TreeStep['kind'][]>('accept', 'answer') },
  { weight: 3, arbitrary: fc.constantFrom<TreeStep['kind'][]>('edit', 'regenerate', 'regenerateNewest', 'select') },
  { weight: 2, arbitrary: fc.constantFrom<TreeStep['kind'][]>('fail', 'cancel', 'rollBack', 'sendAgain', 'claim', 'takeOver') },
  { weight: 1, arbitrary: fc.constantFrom<TreeStep['kind'][]>('fork', 'removeAndRestore') }
)

export const treeSteps: fc.Arbitrary<readonly TreeStep[]> = fc.array(fc.record({ kind, pick }), { minLength: 5, maxLength: 40, size: 'max' })

export async function take (tree: TreeUnderTest, { kind, pick }: TreeStep): Promise<void> {
  await steps[kind](tree, pick)
}

function chosen<T> (from: readonly T[], pick: number): T | undefined {
  return from.length === 0 ? undefined : from.at(-1 - pick % from.length)
}

async function accept ({ model, sent, storage, user, threadId }: TreeUnderTest, editOf: string | undefined): Promise<void> {
  const content = `message ${sent.length} of ${threadId}`
  const message = messageOf({
    threadId, content, clientId: content, maxWaiting: 100, ...(editOf === undefined ? {} : { editOf: toMessageId(editOf) })
  })
  await as(user, async () => await storage.runs.accept(message))
  sent.push(content)
  model.accept(message.messageId, message.runId, content, editOf)
}

async function regenerate ({ model, storage, user, threadId }: TreeUnderTest, named: string | undefined): Promise<void> {
  const message = model.toAnswer(named)
  if (message === undefined) return
  const runId = newRunId(threadId)
  await as(user, async () => await storage.runs.regenerate(
    regenerationOf({ threadId, runId, messageId: named === undefined ? undefined : toMessageId(named), maxWaiting: 100 })
  ))
  model.regenerate(message.id, runId)
}

async function endOldest ({ model, storage, user, threadId }: TreeUnderTest, answered: boolean): Promise<void> {
  const [oldest] = model.unfinished
  const run = await running({ storage, user, threadId })
  if (oldest === undefined || run === undefined) return
  if (run.runId !== oldest.id) throw new Error('Runs are not claimed in the order of acceptance')
  const answer = answered ? { id: newMessageId(), content: `answer to ${run.input}` } : undefined
  const ending = answer === undefined ? { status: 'failed' as const } : { message_id: answer.id, content: answer.content }
  await storage.events.append([completionOf(run, ending)])
  model.end(run.runId, answer)
}

async function running ({ storage, user, threadId }: Pick<TreeUnderTest, 'storage' | 'user' | 'threadId'>): Promise<RunRecord | undefined> {
  return await as(user, async () => await storage.runs.claimNext(threadId, lease) ?? (await storage.runs.unfinished(threadId))[0])
}

/** A worker is late: somebody else goes on with its run, and nothing that it still tells of its end may change the tree. */
async function takeOver ({ storage, user, threadId }: TreeUnderTest): Promise<void> {
  const run = await running({ storage, user, threadId })
  if (run === undefined) return
  await as(user, async () => { await storage.queue.release(run) })
  const next = await running({ storage, user, threadId })
  if (next?.runId !== run.runId || next.attempt !== run.attempt + 1) throw new Error('What was given back is not taken over')
  const stale = [{ message_id: newMessageId(), content: 'stale' }, { status: 'cancelled' as const, reason: 'rolled_back' }]
  const appended = await storage.events.append(stale.map((ending) => completionOf(run, ending)))
  if (appended.some((one) => !('refused' in one))) throw new Error('A stale worker has ended a run')
}

/** The source stays as it was, with what is unfinished in it. */
async function fork (tree: TreeUnderTest, messageId: string | undefined): Promise<void> {
  const { storage, user, threadId, model } = tree
  const target = newThreadId()
  const branchOf = async (thread: ThreadId) => (await as(user, async () => await storage.messages.history(thread, { limit: 100 }))).messages
  await as(user, async () => await storage.threads.fork(threadId, target, { messageId: messageId === undefined ? undefined : toMessageId(messageId) }))
  const after = await branchOf(threadId)
  if (after.map(({ message_id: id }) => id).join() !== model.branch.join()) throw new Error('A fork has changed where it comes from')
  tree.threadId = target
  tree.model = model.fork(messageId, (await branchOf(target)).map(({ message_id: id }) => id))
}

async function endEarly ({ model, storage, user }: TreeUnderTest, pick: number, reason: 'cancelled' | 'rolled_back'): Promise<void> {
  const unfinished = chosen(model.unfinished, pick)
  if (unfinished === undefined) return
  const run = await as(user, async () => await storage.runs.require(toRunId(unfinished.id)))
  await storage.events.append([completionOf(run, { status: 'cancelled', reason })])
  if (reason === 'cancelled') model.end(unfinished.id)
  else model.rollBack(unfinished.id)
}
