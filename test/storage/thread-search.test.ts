import t from 'tap'
import type { Identity } from '../../lib/context/identity.ts'
import type { SearchResult } from '../../lib/protocol/events.ts'
import { newMessageId, newThreadId, type ThreadId } from '../../lib/protocol/ids.ts'
import { as, completionOf, messageOf, newcomer, onEachDatabase, runningRun } from '../support/storage-databases.ts'

onEachDatabase(t, async (t, { storage, ask }) => {
  const { threads, runs } = storage
  const search = async (user: Identity, query: string, page: { limit?: number, cursor?: string } = {}) =>
    await as(user, async () => await threads.search(query, { limit: 10, ...page }))
  const found = async (user: Identity, query: string): Promise<readonly string[]> =>
    (await search(user, query)).results.map(({ thread }) => thread.title ?? thread.thread_id)

  /** A thread whose title is its name here, with these messages. */
  async function write (user: Identity, title: string, ...contents: readonly string[]): Promise<ThreadId> {
    const threadId = newThreadId()
    await as(user, async () => await threads.create(threadId, { title }))
    for (const content of contents) await as(user, async () => await runs.accept(messageOf({ threadId, content })))
    return threadId
  }

  t.test('threads are found by their title and by their messages, the best match first, each once', async (t) => {
    const alice = newcomer()
    await write(alice, 'One', 'Whales dive, and nothing else of the kind is said in this long message about the sea')
    await write(alice, 'Two', 'Whales, whales, whales', 'Whales again')
    await write(alice, 'Whales')
    await write(alice, 'Four', 'Otters')

    const { results, nextCursor } = await search(alice, 'whales')

    t.same(results.map(({ thread }) => thread.title), ['Whales', 'Two', 'One'])
    t.match(results[0], { message: null, snippet: '«Whales»' })
    t.match(results[1], { message: { message_id: String, role: 'user', created_at: String }, snippet: '«Whales», «whales», «whales»' })
    t.equal(nextCursor, null)
    t.same(results[2]?.thread, await as(alice, async () => await threads.require(results[2]?.thread.thread_id as ThreadId)))
  })

  t.test('of equal matches the newest is first, and answers are found as well', async (t) => {
    const alice = newcomer()
    for (const title of ['Old', 'New']) await write(alice, title, 'An otter')
    const run = await runningRun(storage, alice)
    await storage.events.append([completionOf(run, { message_id: newMessageId(), content: 'A seal' })])

    t.same(await found(alice, 'otter'), ['New', 'Old'])
    t.match((await search(alice, 'seal')).results, [{ thread: { thread_id: run.threadId }, message: { role: 'assistant' } }])
  })

  t.test('the query is written as for a search engine, and the last word may go on', async (t) => {
    const alice = newcomer()
    await write(alice, 'A', 'The sea otter dives')
    await write(alice, 'B', 'An otter far from the sea')
    await write(alice, 'C', 'Whales sing')

    const cases: Readonly<Record<string, readonly string[]>> = {
      'sea otter': ['A', 'B'],
      '"sea otter"': ['A'],
      'otter -dives': ['B'],
      'otter -"far from"': ['A'],
      'dives or sing': ['A', 'C'],
      OTTER: ['A', 'B'],
      ott: ['A', 'B'],
      '"sea ott': ['A'],
      'ott ': [],
      'the': ['A', 'B'],
      'otter whales': []
    }
    for (const [query, titles] of Object.entries(cases)) t.same((await found(alice, query)).toSorted(), titles, query)
  })

  t.test('words of any language and script are found, and of code as well', async (t) => {
    const alice = newcomer()
    await write(alice, 'Chinese', '我喜欢猫和狗。')
    await write(alice, 'Japanese', 'ラッコは海で暮らしている')
    await write(alice, 'Thai', 'ฉันชอบแมว')
    await write(alice, 'Russian', 'Выдра живёт в море')
    await write(alice, 'Arabic', 'ثعلب الماء يعيش في البحر')
    await write(alice, 'Hindi', 'नमस्ते दुनिया')
    await write(alice, 'Czech', 'Příliš žluťoučký kůň')
    await write(alice, 'Code', 'see https://example.com/lakes/otter.html?deep=water#now, <Otter-Pool depth="3.14"/>, user_name')

    const cases: Readonly<Record<string, readonly string[]>> = {
      喜欢: ['Chinese'], 猫: ['Chinese'], 欢喜: [], ラッコ: ['Japanese'], 海: ['Japanese'], แมว: ['Thai'], ВЫДРА: ['Russian'], البحر: ['Arabic'],
      दुनिया: ['Hindi'], ŽLUŤOUČKÝ: ['Czech'], kun: [], lakes: ['Code'], 'otter.html': ['Code'], pool: ['Code'], 'Otter-Pool': ['Code'], '3.14': ['Code'],
      'user_name': ['Code'], 'name': ['Code'], 'example.com/lakes': ['Code']
    }
    for (const [query, titles] of Object.entries(cases)) t.same(await found(alice, query), titles, query)
  })

  t.test('archived threads are found, deleted ones are not until they are restored', async (t) => {
    const alice = newcomer()
    const archived = await write(alice, 'Archived', 'An otter')
    const deleted = await write(alice, 'Deleted', 'An otter')
    await as(alice, async () => await threads.archive(archived))
    await as(alice, async () => { await threads.remove(deleted) })

    t.same(await found(alice, 'otter'), ['Archived'])
    await as(alice, async () => await threads.restore(deleted))
    t.same((await found(alice, 'otter')).toSorted(), ['Archived', 'Deleted'])
  })

  t.test('a message is found in whatever branch it stands', async (t) => {
    const alice = newcomer()
    const threadId = newThreadId()
    const first = messageOf({ threadId, newThread: true, content: 'An otter' })
    await as(alice, async () => await runs.accept(first))
    await as(alice, async () => await runs.accept(messageOf({ threadId, content: 'A whale', editOf: first.messageId })))

    t.match((await search(alice, 'otter')).results, [{ message: { message_id: first.messageId } }])
  })

  t.test('nothing to look for finds nothing', async (t) => {
    const alice = newcomer()
    await write(alice, 'Otters', 'or not')

    for (const query of ['', ' ', '-', '-otters', '...', '"', '\u{1f9a6}', ':*', '!!', '()']) t.same(await search(alice, query), { results: [], nextCursor: null }, query)
  })

  t.test('a query can be anything', async (t) => {
    const alice = newcomer()
    await write(alice, 'Otters', 'It\'s a <-> & | ! :* (test) \\ \' "')
    const queries = [
      '\'); drop table threadline.messages; --', 'a & | !b', 'x:*', '\\', '\'', '"\'"', '((', '<->', '\ud800', '\ud800abc', 'a\u0300', '%_', '$1', 'it\'s a test',
      'x'.repeat(200), '猫'.repeat(200), 'a '.repeat(100), '-a '.repeat(66), 'or '.repeat(66)
    ]

    for (const query of queries) await t.resolves(search(alice, query), query)
    await t.rejects(search(alice, 'ott\0er'), { code: 'THREADLINE_BAD_REQUEST', field: 'query' })
    t.same(await found(alice, 'it\'s a test'), ['Otters'])
  })

  t.test('no message is too odd to be stored, and the words of its beginning are found', async (t) => {
    // kill: leave `left` out of `search_words` in lib/storage/migrations/0008-threads.ts
    const alice = newcomer()
    const characters = Array.from({ length: 32_000 }, (_, index) => String.fromCodePoint(0x21 + (index * 7_919) % 0xd7df))
    const contents = [
      'x'.repeat(32_000), '猫'.repeat(32_000), '\u{1f9a6}'.repeat(16_000), '<!--'.repeat(8_000), 'a-'.repeat(16_000), 'a@a.'.repeat(8_000),
      'http://a/'.repeat(3_500), '\u0301'.repeat(32_000), ' '.repeat(32_000), characters.join(''), characters.join(' ').slice(0, 32_000),
      Array.from({ length: 6_000 }, (_, index) => `w${index}`).join(' ')
    ]

    for (const [index, content] of contents.entries()) {
      const threadId = await write(alice, `Odd ${index}`, `sentinel${index} ${content}`)
      t.same(await found(alice, `sentinel${index} `), [`Odd ${index}`])
      const { messages } = await as(alice, async () => await storage.messages.history(threadId, { limit: 1 }))
      t.equal(messages[0]?.content, `sentinel${index} ${content}`)
    }

    const run = await runningRun(storage, alice)
    const answer = Array.from({ length: 500_000 }, (_, index) => `w${index}`).join(' ')
    t.match(await storage.events.append([completionOf(run, { message_id: newMessageId(), content: answer })]), [{ sequence: 1 }])
    t.same((await search(alice, 'w17 ')).results.map(({ thread }) => thread.thread_id).includes(run.threadId), true)
  })

  t.test('results come in pages, to an end', async (t) => {
    const alice = newcomer()
    for (let index = 0; index < 7; index++) await write(alice, `Otter ${index}`)

    const pages: Array<readonly SearchResult[]> = []
    for (let cursor: string | undefined; pages.length < 10;) {
      const { results, nextCursor } = await search(alice, 'otter', { limit: 3, ...(cursor === undefined ? {} : { cursor }) })
      pages.push(results)
      if (nextCursor === null) break
      cursor = nextCursor
    }

    t.same(pages.map((page) => page.length), [3, 3, 1])
    t.same(pages.flat().map(({ thread }) => thread.title), Array.from({ length: 7 }, (_, index) => `Otter ${6 - index}`))
  })

  t.test('nobody reads more than a thousand results', async (t) => {
    const alice = newcomer()
    await ask(`
      begin; set local role threadline_app; set local threadline.user_id = '${alice.userId}';
      insert into threadline.threads (thread_id, user_id, title) select gen_random_uuid(), '${alice.userId}', 'Otter' from generate_series(1, 1010);
      commit`)

    let [count, cursor] = [0, undefined as string | undefined]
    for (let page = 0; page < 20; page++) {
      const { results, nextCursor } = await search(alice, 'otter', { limit: 90, ...(cursor === undefined ? {} : { cursor }) })
      count += results.length
      if (nextCursor === null) break
      cursor = nextCursor
    }

    t.equal(count, 1_000)
  })

  t.test('what is no cursor of a search is refused', async (t) => {
    const alice = newcomer()
    const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

    for (const cursor of ['', 'x', encode(['search 1', 0]), encode(['search 1', 1_001]), encode(['search 1', '1']), encode(['threads 1', [1, newThreadId()]])]) {
      await t.rejects(search(alice, 'otter', { cursor }), { code: 'THREADLINE_BAD_REQUEST', field: 'cursor' }, cursor)
    }
  })

  t.test('a search finds what is the user\'s own, whatever is said elsewhere and whatever the cursor', async (t) => {
    // kill: open the unit of work in the name of another user (lib/storage/unit-of-work.ts, `asUser`)
    const [alice, bob] = [newcomer(), newcomer()]
    for (let index = 0; index < 4; index++) await write(alice, `Hers ${index}`, 'The secret otter')
    await write(bob, 'His', 'A secret whale')
    const { nextCursor } = await search(alice, 'secret', { limit: 1 })

    t.same(await found(bob, 'secret'), ['His'])
    t.same(await found(bob, 'otter'), [])
    t.same((await search(bob, 'secret', { cursor: nextCursor ?? '' })).results, [])
  })
})
