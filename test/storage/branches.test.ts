import t from 'tap'
import { newMessageId, newThreadId, toMessageId, type MessageId } from '../../lib/protocol/ids.ts'
import type { Regeneration } from '../../lib/stores/run-store.ts'
import { startTalk } from '../support/stored-talk.ts'
import { as, completionOf, messageOf, newcomer, onEachDatabase, regenerationOf } from '../support/storage-databases.ts'

onEachDatabase(t, async (t, { storage }) => {
  const { messages, runs, events } = storage
  const noMessage = { code: 'THREADLINE_NOT_FOUND', message: 'There is no such message' }

  const talk = async (...lines: readonly string[]) => await startTalk(storage, lines)

  t.test('E70 messages that come at once stand one after the other on one branch', async (t) => {
    // kill (on a server): take `for no key update` from `lock_thread`, in lib/storage/migrations/0007-message-tree.ts
    const { say, page, branch } = await talk('one')
    const lines = Array.from({ length: 10 }, (_, index) => `line ${index}`)

    await Promise.all(lines.map(async (line) => await say(line)))

    t.same((await branch()).slice(2).toSorted(), lines)
    t.ok((await page()).every((message) => message.sibling_ids.length === 1))
  })

  t.test('an edited message stands beside the one that it replaces, and what followed stays on its own branch', async (t) => {
    const { alice, threadId, say, answer, page, branch } = await talk('one', 'two')
    const [, , two] = await page()

    const edited = await say('two, better', { editOf: toMessageId(two?.message_id ?? ''), metadata: { draft: 2 } })
    await answer('better!')

    t.same(await branch(), ['one', 'one!', 'two, better', 'better!'])
    t.match((await page())[2], { parent_id: two?.parent_id, sibling_ids: [two?.message_id, edited.messageId], metadata: { draft: 2 } })
    await as(alice, async () => { await messages.selectBranch(threadId, toMessageId(two?.message_id ?? '')) })
    t.same(await branch(), ['one', 'one!', 'two', 'two!'])
    t.same((await page()).map((message) => message.sibling_ids.length), [1, 1, 2, 1])
  })

  t.test('the first message of a thread can be edited', async (t) => {
    const { say, page, branch } = await talk('one')
    const [one] = await page()

    const edited = await say('another', { editOf: toMessageId(one?.message_id ?? '') })

    t.same(await branch(), ['another'])
    t.match(await page(), [{ parent_id: null, sibling_ids: [one?.message_id, edited.messageId] }])
  })

  t.test('only a message of the user in the same thread can be edited', async (t) => {
    const { say, branch, page } = await talk('one')
    const elsewhere = await talk('other')
    const [theirs] = await elsewhere.page()
    const [, answer] = await page()

    for (const editOf of [newMessageId(), toMessageId(theirs?.message_id ?? ''), toMessageId(answer?.message_id ?? '')]) {
      await t.rejects(say('x', { editOf, clientId: 'm-1' }), noMessage)
    }
    t.same(await branch(), ['one', 'one!'])
    await t.resolves(say('x', { clientId: 'm-1' }), 'nothing of it has stayed')
  })

  t.test('a message that is answered once more has two answers, and the newest is visible', async (t) => {
    const { alice, threadId, again, claim, answer, page, branch } = await talk('one', 'two')
    const before = await page()

    const { runId } = await again()
    t.same(await branch(), ['one', 'one!', 'two'], 'until there is an answer')
    const run = await claim()
    const conversation = await as(alice, async () => await messages.history(threadId, { limit: 9, before: run.messageId }))
    const second = newMessageId()
    await events.append([completionOf(run, { message_id: second, content: 'two!!' })])

    t.match(run, { runId, messageId: before[2]?.message_id, input: 'two', agent: 'assistant' })
    t.same(conversation.messages.map(({ content }) => content), ['one', 'one!'])
    t.same(await branch(), ['one', 'one!', 'two', 'two!!'])
    t.match((await page())[3], { run_id: runId, sibling_ids: [before[3]?.message_id, second] })
    await again({ messageId: toMessageId(before[1]?.message_id ?? '') })
    await answer('one!!')
    t.same(await branch(), ['one', 'one!!'], 'an answer stands for what it answers')
  })

  t.test('the agent that answered first answers again, unless another is asked for', async (t) => {
    const { alice, say, answer, again } = await talk()
    await say('one', { agent: 'poet' })
    await answer('one!')
    const agentOf = async ({ runId }: Regeneration) => (await as(alice, async () => await runs.require(runId))).agent

    t.equal(await agentOf(await again()), 'poet')
    t.equal(await agentOf(await again({ agent: 'critic' })), 'critic')
  })

  t.test('a message that was taken over from another thread is answered by the default agent', async (t) => {
    const source = await talk('one')
    const threadId = newThreadId()
    const run = regenerationOf({ threadId, defaultAgent: 'somebody' })

    const agent = await as(source.alice, async () => {
      await storage.threads.fork(source.threadId, threadId, {})
      await runs.regenerate(run)
      return (await runs.require(run.runId)).agent
    })

    t.equal(agent, 'somebody')
  })

  t.test('what does not exist is not answered again', async (t) => {
    const [empty, other] = [await talk(), await talk('other')]
    const { again } = await talk('one')
    const [theirs] = await other.page()

    await t.rejects(empty.again(), noMessage)
    for (const messageId of [newMessageId(), toMessageId(theirs?.message_id ?? '')]) await t.rejects(again({ messageId }), noMessage)
    await t.rejects(again({ threadId: newThreadId() }), { code: 'THREADLINE_THREAD_NOT_FOUND' })
    await t.rejects(as(other.alice, async () => await runs.regenerate(regenerationOf({ threadId: empty.threadId }))), {
      code: 'THREADLINE_THREAD_NOT_FOUND'
    })
  })

  t.test('a message is answered again as often as the thread takes runs', async (t) => {
    const { again, say } = await talk('one')
    await say('two')

    await t.rejects(again({ strategy: 'reject' }), { code: 'THREADLINE_THREAD_BUSY' })
    await t.resolves(again({ maxWaiting: 1 }))
    await t.rejects(again({ maxWaiting: 1 }), { code: 'THREADLINE_QUEUE_FULL' })
  })

  t.test('a regeneration that comes again with its client id is the same, also after it was answered', async (t) => {
    const { alice, say, again, answer, page } = await talk('one', 'two')
    const [one, first, two] = (await page()).map((message) => toMessageId(message.message_id))
    const { threadId, runId } = await again({ clientId: 'r-1', messageId: first })
    await answer('one!!')
    const once = async (changes: Partial<Regeneration>) => await as(alice, async () =>
      await runs.regenerate(regenerationOf({ threadId, clientId: 'r-1', ...changes })))

    for (const messageId of [one, first, undefined]) t.match(await once({ messageId }), { duplicate: true, runId, messageId: one })
    await t.rejects(once({ messageId: two }), { code: 'THREADLINE_CONFLICT' })
    await t.rejects(say('one', { clientId: 'r-1' }), { code: 'THREADLINE_CONFLICT' }, 'it was no message')
    await say('x', { clientId: 'm-1' })
    await t.rejects(once({ clientId: 'm-1' }), { code: 'THREADLINE_CONFLICT' }, 'it was no regeneration')
  })

  t.test('what is written while a message is answered once more follows the new answer', async (t) => {
    const { say, again, answer, branch } = await talk('one')
    await again()
    await say('two')
    t.same(await branch(), ['one', 'two'])

    await answer('one!!')
    await answer('two!')

    t.same(await branch(), ['one', 'one!!', 'two', 'two!'])
  })

  t.test('the answer that was asked for last is the visible one, also when both were running', async (t) => {
    const { say, again, answer, branch } = await talk()
    await say('one')
    await again()

    await answer('one!')
    t.same(await branch(), ['one'], 'the other is still to come')
    await answer('one!!')

    t.same(await branch(), ['one', 'one!!'])
  })

  t.test('each message follows the answer that it waited for', async (t) => {
    const { alice, threadId, say, again, answer, branch } = await talk()
    const first = await say('one')
    const second = await say('two')
    await again({ messageId: first.messageId })
    await say('three')

    for (const content of ['one!', 'two!', 'one!!', 'three!']) await answer(content)

    t.same(await branch(), ['one', 'one!!', 'three', 'three!'])
    await as(alice, async () => { await messages.selectBranch(threadId, second.messageId) })
    t.same(await branch(), ['one', 'one!', 'two', 'two!'])
  })

  t.test('a regeneration without an answer leaves the branch as it was', async (t) => {
    const { again, answer, claim, say, branch } = await talk('one', 'two')
    const fail = async () => await events.append([completionOf(await claim(), { status: 'failed' })])

    await again()
    await fail()
    t.same(await branch(), ['one', 'one!', 'two', 'two!'])
    await again()
    await answer('two!!')
    await again()
    await say('three')
    await fail()

    t.same(await branch(), ['one', 'one!', 'two', 'two!!', 'three'])
  })

  // kill: `follow_answer` of lib/storage/migrations/0012-branch-to-its-end.ts as it was in 0007.
  t.test('another answer that is not wanted any more hides nothing of what waited for the first', async (t) => {
    const { say, again, stop, answer, branch } = await talk()
    const first = await say('one')
    await say('two')
    const another = await again({ messageId: first.messageId })

    await stop(another)
    await answer('one!')

    t.same(await branch(), ['one', 'one!', 'two'])
  })

  // kill: the comparison of the head with `followed` in lib/storage/migrations/0012-branch-to-its-end.ts.
  t.test('what waited for an answer that does not come follows the one that was chosen meanwhile, and is seen', async (t) => {
    const { alice, threadId, say, again, stop, answer, branch } = await talk()
    await say('one')
    const another = await again()
    const chosen = await answer('one!')
    await say('two')
    await as(alice, async () => { await messages.selectBranch(threadId, chosen) })
    t.same(await branch(), ['one', 'one!'])

    await stop(another)

    t.same(await branch(), ['one', 'one!', 'two'])
  })

  t.test('a message that follows one without an answer simply follows it', async (t) => {
    const { say, claim, branch, page } = await talk()
    const first = await say('one')
    await events.append([completionOf(await claim(), { status: 'failed' })])

    await say('two')

    t.same(await branch(), ['one', 'two'])
    t.equal((await page())[1]?.parent_id, first.messageId)
  })

  t.test('a run that is rolled back takes its message with it, and its client id stays used', async (t) => {
    const { alice, say, roll, branch, answer } = await talk('one')
    const [second, third] = [await say('two', { clientId: 'm-2' }), await say('three')]
    await say('four', { strategy: 'rollback' })

    for (const run of [second, third]) await roll(run)
    await answer('four!')

    t.same(await branch(), ['one', 'one!', 'four', 'four!'])
    t.match(await as(alice, async () => await runs.accept(messageOf({ clientId: 'm-2', content: 'two' }))), { duplicate: true, runId: second.runId })
    t.match(await as(alice, async () => await runs.require(second.runId)), { status: 'cancelled', error: 'rolled_back' })
    t.equal((await as(alice, async () => await events.read(second.threadId, 0, 10))).length, 4, 'the log keeps its events')
  })

  t.test('a roll back of the head leads back to the branch that was there, or to nothing', async (t) => {
    const { say, roll, branch, page } = await talk('one')
    const [one] = await page()
    const edited = await say('another', { editOf: toMessageId(one?.message_id ?? '') })
    const alone = await talk()
    const only = await alone.say('only')

    await roll(edited)
    await alone.roll(only)

    t.same(await branch(), ['one', 'one!'])
    t.same(await alone.branch(), [])
    await alone.say('first')
    t.same(await alone.branch(), ['first'])
  })

  t.test('a message stays while another run answers it, or has', async (t) => {
    const { say, again, roll, answer, branch } = await talk()
    const first = await say('one')
    await again({ strategy: 'rollback' })

    await roll(first)
    await answer('one!')
    t.same(await branch(), ['one', 'one!'])
    await roll(await again())

    t.same(await branch(), ['one', 'one!'])
  })

  t.test('a message all of whose runs are rolled back goes with the last of them', async (t) => {
    const { say, again, roll, branch } = await talk('one')
    const [second, regeneration] = [await say('two'), await again()]

    await roll(second)
    t.same(await branch(), ['one', 'one!', 'two'])
    await roll(regeneration)

    t.same(await branch(), ['one', 'one!'])
  })

  t.test('a branch is chosen by any of its messages, the newest that leads through it', async (t) => {
    const { alice, threadId, say, answer, page, branch } = await talk('one', 'two')
    const [one, , two] = (await page()).map((message) => toMessageId(message.message_id))
    await say('two, better', { editOf: two })
    await answer('better!')
    const choose = async (messageId: MessageId | undefined) => await as(alice, async () => {
      await messages.selectBranch(threadId, messageId ?? newMessageId())
      return await branch()
    })

    t.same(await choose(two), ['one', 'one!', 'two', 'two!'])
    t.same(await choose(one), ['one', 'one!', 'two, better', 'better!'])
    await t.rejects(choose(newMessageId()), noMessage)
    await t.rejects(as(newcomer(), async () => { await messages.selectBranch(threadId, one ?? newMessageId()) }), {
      code: 'THREADLINE_THREAD_NOT_FOUND'
    })
    t.same(await branch(), ['one', 'one!', 'two, better', 'better!'])
  })
})
