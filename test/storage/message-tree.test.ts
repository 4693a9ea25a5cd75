import fc from 'fast-check'
import t from 'tap'
import { newThreadId, toMessageId } from '../../lib/protocol/ids.ts'
import { holdsInTime } from '../support/holds-in-time.ts'
import { MessageTreeModel } from '../support/message-tree-model.ts'
import { as, newcomer, onEachDatabase } from '../support/storage-databases.ts'
import { take, treeSteps, type TreeUnderTest } from '../support/tree-steps.ts'

/** A slow machine tries less in it. */
const limitMs = 25_000

onEachDatabase(t, async (t, { storage, askAs }) => {
  const { messages } = storage

  async function visible ({ user, threadId }: TreeUnderTest) {
    return (await as(user, async () => await messages.history(threadId, { limit: 100 }))).messages
  }

  t.test('whatever happens in a thread, its messages are the tree that they should be, and none is lost', async (t) => {
    await holdsInTime(t, fc.asyncProperty(treeSteps, async (steps) => {
      const tree: TreeUnderTest = { storage, user: newcomer(), threadId: newThreadId(), model: new MessageTreeModel(), sent: [] }
      await as(tree.user, async () => await storage.threads.create(tree.threadId))

      for (const step of steps) {
        await take(tree, step)
        const branch = await visible(tree)
        same(branch.map((message) => message.message_id), tree.model.branch, 'the visible branch')
        same(tree.model.isWhole, true, 'the end of the visible branch')
        for (const message of branch) same(message.sibling_ids, tree.model.siblings(message.message_id), 'siblings')
      }

      const rows = await askAs('threadline_app', tree.user.userId, `
        select message_id as id, role, content, parent_id as parent from threadline.messages where thread_id = '${tree.threadId}'
        order by ordinal`)
      same(rows, tree.model.messages.map(({ id, role, content, parent }) => ({ id, role, content, parent })), 'all messages')
      for (const { id } of tree.model.messages) {
        const before = await as(tree.user, async () => await messages.history(tree.threadId, { limit: 100, before: toMessageId(id) }))
        same(before.messages.map((message) => message.message_id), tree.model.before(id), 'the way to a message')
      }
    }), { numRuns: 100, interruptAfterTimeLimit: limitMs })
  })
})

function same (actual: unknown, expected: unknown, what: string): void {
  const [one, other] = [JSON.stringify(actual), JSON.stringify(expected)]
  if (one !== other) throw new Error(`${what}: ${one} instead of ${other}`)
}
