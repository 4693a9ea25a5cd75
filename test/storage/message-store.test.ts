import t from 'tap'
import { isMessageId, newMessageId, newThreadId, type MessageId } from '../../lib/protocol/ids.ts'
import { as, completionOf, lease, messageOf, newcomer, onEachDatabase } from '../support/storage-databases.ts'

onEachDatabase(t, async (t, { storage }) => {
  const { messages, runs, events } = storage

  t.test('a message that had to wait stands after the answer that it waited for', async (t) => {
    const alice = newcomer()
    const threadId = newThreadId()
    await as(alice, async () => await runs.accept(messageOf({ threadId, newThread: true, content: 'first' })))
    await as(alice, async () => await runs.accept(messageOf({ threadId, content: 'second' })))
    for (const content of ['answer to first', 'answer to second']) {
      const run = await as(alice, async () => await runs.claimNext(threadId, lease))
      if (run !== undefined) await events.append([completionOf(run, { message_id: newMessageId(), content })])
    }

    const history = await as(alice, async () => await messages.history(threadId, { limit: 10 }))

    t.same(history.messages.map(({ content }) => content), ['first', 'answer to first', 'second', 'answer to second'])
    t.equal(history.hasMore, false)
  })

  t.test('history is read backwards in pages, each oldest first', async (t) => {
    const alice = newcomer()
    const threadId = newThreadId()
    await as(alice, async () => await storage.threads.create(threadId))
    for (const content of ['1', '2', '3', '4', '5']) await as(alice, async () => await runs.accept(messageOf({ threadId, content })))

    const last = await as(alice, async () => await messages.history(threadId, { limit: 2 }))
    const middle = await as(alice, async () => await messages.history(threadId, { limit: 2, before: asMessageId(last.messages[0]) }))
    const first = await as(alice, async () => await messages.history(threadId, { limit: 2, before: asMessageId(middle.messages[0]) }))

    t.same([last, middle, first].map((page) => page.messages.map(({ content }) => content)), [['4', '5'], ['2', '3'], ['1']])
    t.same([last, middle, first].map(({ hasMore }) => hasMore), [true, true, false])
  })

  t.test('a page before a message that the thread does not have is refused', async (t) => {
    const alice = newcomer()
    const [one, other] = [messageOf(), messageOf()]
    for (const message of [one, other]) await as(alice, async () => await runs.accept(message))

    for (const before of [newMessageId(), other.messageId]) {
      await t.rejects(as(alice, async () => await messages.history(one.threadId, { limit: 2, before })), { code: 'THREADLINE_NOT_FOUND' })
    }
  })
})

function asMessageId (message: { message_id: string } | undefined): MessageId {
  if (!isMessageId(message?.message_id)) throw new Error('There is a message')
  return message.message_id
}
