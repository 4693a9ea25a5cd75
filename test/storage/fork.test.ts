import t from 'tap'
import type { Identity } from '../../lib/context/identity.ts'
import type { MessageView, ThreadView } from '../../lib/protocol/events.ts'
import { newMessageId, newThreadId, type MessageId, type ThreadId } from '../../lib/protocol/ids.ts'
import type { AcceptedMessage } from '../../lib/stores/run-store.ts'
import { as, completionOf, lease, messageOf, newcomer, onEachDatabase } from '../support/storage-databases.ts'

const contentsOf = (messages: readonly MessageView[]): readonly string[] => messages.map(({ content }) => content)

onEachDatabase(t, async (t, { storage }) => {
  const { threads, messages, runs } = storage
  const history = async (user: Identity, threadId: string): Promise<readonly MessageView[]> =>
    (await as(user, async () => await messages.history(threadId as ThreadId, { limit: 200 }))).messages
  const fork = async (user: Identity, source: ThreadId, options: { messageId?: MessageId, title?: string } = {}): Promise<ThreadView> =>
    await as(user, async () => await threads.fork(source, newThreadId(), options))

  /** A message of the user with its answer, whose content begins alike. */
  async function say (user: Identity, message: AcceptedMessage): Promise<MessageId> {
    await as(user, async () => await runs.accept(message))
    const run = await as(user, async () => await runs.claimNext(message.threadId, lease))
    if (run === undefined) throw new Error('There was nothing to claim')
    const answer = newMessageId()
    await storage.events.append([completionOf(run, { message_id: answer, content: `Answer to ${message.content}` })])
    return answer
  }

  async function conversation (user: Identity, title?: string): Promise<{ threadId: ThreadId, first: AcceptedMessage, answer: MessageId }> {
    const threadId = newThreadId()
    await as(user, async () => await threads.create(threadId, { title, metadata: { colour: 'green' } }))
    const first = messageOf({ threadId, content: 'one', metadata: { mood: '\0' } })
    const answer = await say(user, first)
    await say(user, messageOf({ threadId, content: 'two' }))
    return { threadId, first, answer }
  }

  t.test('a fork has copies of the messages on the way to one, and nothing else', async (t) => {
    const alice = newcomer()
    const { threadId, answer } = await conversation(alice, 'Otters')
    const source = (await history(alice, threadId)).slice(0, 2)

    const forked = await fork(alice, threadId, { messageId: answer })

    const copies = await history(alice, forked.thread_id)
    t.match(forked, { title: 'Otters', archived_at: null, deleted_at: null })
    t.same(forked.metadata, {})
    t.same(copies.map(({ role, content, metadata, created_at: at }) => ({ role, content, metadata, at })),
      source.map(({ role, content, metadata, created_at: at }) => ({ role, content, metadata, at })))
    t.match(copies, [{ parent_id: null, run_id: null, thread_id: forked.thread_id }, { parent_id: copies[0]?.message_id, run_id: null }])
    t.equal(new Set([...source, ...copies].map(({ message_id: id }) => id)).size, 4)
    t.ok(copies.every(({ message_id: id }) => /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(id)))
    t.match(await as(alice, async () => await threads.state(forked.thread_id as ThreadId)), { sequence: 0, keptAfter: 0, activeRuns: [] })
    t.same(await as(alice, async () => await runs.list(forked.thread_id as ThreadId, { limit: 10 })), { runs: [], hasMore: false })
    t.same(idsOfList(await as(alice, async () => await threads.list({ limit: 10 }))), [forked.thread_id, threadId])
  })

  t.test('without a message it has the visible branch, and its title where one is given', async (t) => {
    const alice = newcomer()
    const { threadId, first } = await conversation(alice)
    await say(alice, messageOf({ threadId, content: 'one, edited', editOf: first.messageId }))

    const visible = await fork(alice, threadId, { title: 'Edited' })
    await as(alice, async () => { await messages.selectBranch(threadId, first.messageId) })
    const other = await fork(alice, threadId)

    t.same([visible.title, other.title], ['Edited', null])
    t.same(contentsOf(await history(alice, visible.thread_id)), ['one, edited', 'Answer to one, edited'])
    t.same(contentsOf(await history(alice, other.thread_id)), ['one', 'Answer to one', 'two', 'Answer to two'])
  })

  t.test('a fork goes on by itself, and its source as well', async (t) => {
    const alice = newcomer()
    const { threadId, answer } = await conversation(alice)
    const forked = (await fork(alice, threadId, { messageId: answer })).thread_id as ThreadId
    const before = await history(alice, threadId)

    await say(alice, messageOf({ threadId: forked, content: 'three' }))
    const [copy] = await history(alice, forked)
    await say(alice, messageOf({ threadId: forked, content: 'four', editOf: copy?.message_id as MessageId }))

    t.same(contentsOf(await history(alice, forked)), ['four', 'Answer to four'])
    t.same(await history(alice, threadId), before)

    await as(alice, async () => { await messages.selectBranch(forked, copy?.message_id as MessageId) })
    const deeper = await fork(alice, forked)
    t.same(contentsOf(await history(alice, deeper.thread_id)), ['one', 'Answer to one', 'three', 'Answer to three'])
    await as(alice, async () => { await threads.remove(threadId) })
    t.same(contentsOf(await history(alice, forked)), ['one', 'Answer to one', 'three', 'Answer to three'])
  })

  t.test('a fork of a conversation that waits for its answer ends with the question', async (t) => {
    const alice = newcomer()
    const { threadId } = await conversation(alice)
    await as(alice, async () => await runs.accept(messageOf({ threadId, content: 'three' })))

    const forked = (await fork(alice, threadId)).thread_id as ThreadId
    const again = await as(alice, async () => await runs.accept(messageOf({ threadId: forked, content: 'four' })))

    t.equal(again.position, 0)
    t.same(contentsOf(await history(alice, forked)).slice(-2), ['three', 'four'])
  })

  t.test('an empty thread has an empty fork, and a long one a whole one', async (t) => {
    const alice = newcomer()
    const [empty, long] = [newThreadId(), newThreadId()]
    for (const threadId of [empty, long]) await as(alice, async () => await threads.create(threadId))
    for (let index = 0; index < 150; index++) await as(alice, async () => await runs.accept(messageOf({ threadId: long, content: `${index}`, maxWaiting: 999 })))

    t.same(await history(alice, (await fork(alice, empty)).thread_id), [])
    t.same(contentsOf(await history(alice, (await fork(alice, long)).thread_id)), Array.from({ length: 150 }, (_, index) => `${index}`))
  })

  t.test('messages of another thread are as unknown as those that do not exist, and nothing is left behind', async (t) => {
    // kill: leave the comparison of `thread_id` out of `fork_thread`'s way, in lib/storage/migrations/0008-threads.ts
    const [alice, bob] = [newcomer(), newcomer()]
    const { threadId } = await conversation(alice)
    const { first: elsewhere } = await conversation(alice)
    const { first: foreign } = await conversation(bob)
    const total = async () => (await as(alice, async () => await threads.list({ limit: 1 }))).total
    const before = await total()

    for (const messageId of [newMessageId(), elsewhere.messageId, foreign.messageId]) {
      await t.rejects(fork(alice, threadId, { messageId }), { code: 'THREADLINE_NOT_FOUND' })
    }
    await t.rejects(as(alice, async () => await threads.fork(threadId, threadId, {})), { code: 'THREADLINE_CONFLICT' })
    await t.rejects(as(alice, async () => await threads.fork(threadId, foreign.threadId, {})), { code: 'THREADLINE_CONFLICT' })
    await t.rejects(fork(alice, threadId, { title: 'a\0b' }), { code: 'THREADLINE_BAD_REQUEST', field: 'title' })

    t.equal(await total(), before)
  })

  t.test('a foreign thread is as unknown as one that does not exist, also with one of its messages', async (t) => {
    // kill: let `lock_thread` return no thread instead of raising (lib/storage/migrations/0007-message-tree.ts)
    const [alice, bob] = [newcomer(), newcomer()]
    const { threadId, answer } = await conversation(alice)

    for (const source of [threadId, newThreadId()]) {
      for (const options of [{}, { messageId: answer }]) {
        await t.rejects(fork(bob, source, options), { code: 'THREADLINE_THREAD_NOT_FOUND', message: 'There is no such thread' })
      }
    }
    t.equal((await as(bob, async () => await threads.list({ limit: 1 }))).total, 0)
  })
})

const idsOfList = ({ threads }: { readonly threads: readonly ThreadView[] }): readonly string[] => threads.map((thread) => thread.thread_id)
