import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import t from 'tap'
import type { MessageView, RunView, ThreadView } from '../../lib/protocol/events.ts'
import type { ThreadId } from '../../lib/protocol/ids.ts'
import type { MessagePage } from '../../lib/stores/message-store.ts'
import type { Storage } from '../../lib/stores/storage.ts'
import { fewerNodes } from '../support/fewer-nodes.ts'
import { httpClient } from '../support/http-client.ts'
import { startServer } from '../support/start-server.ts'
import { asUser, readThread } from '../support/stored-thread.ts'

// A thread as a file. Users are named after their case.

interface Exported { readonly exported_at: string, readonly thread: ThreadView, readonly messages: readonly MessageView[], readonly runs: readonly RunView[] }

const server = await startServer(t, { env: { DEFAULT_AGENT: 'echo' }, only: fewerNodes.exchanged })
const { storage } = server.app
/** Of 104 messages: three pages. */
const long = await longThread('bert', 52)

t.test('a thread is exported as JSON: its visible branch in order with every field, and its runs', async (t) => {
  const call = await httpClient(server, 'anna')
  const thread = await server.thread('anna', 'Plans for Ünïcode & "quotes"/..\n')
  const socket = await server.connect('anna', { thread })
  for (const word of ['one', 'two']) await socket.chat(word, { metadata: { word } })
  const [first] = (await readThread(storage, 'anna', thread)).messages
  await socket.chat('one, edited', { edit_of: first?.message_id })

  const answer = await call('GET', `/v1/threads/${thread}/export`)

  const exported = answer.body as Exported // compared below
  t.equal(answer.status, 200)
  t.equal(answer.headers.get('content-type'), 'application/json; charset=utf-8')
  t.equal(answer.headers.get('content-disposition'), 'attachment; filename="Plans-for-Unicode-quotes.json"')
  t.equal(answer.headers.get('cache-control'), 'no-store')
  const stored = await readThread(storage, 'anna', thread)
  t.strictSame(exported.messages, stored.messages, 'each message as history has it')
  t.match(exported.messages, [{ content: 'one, edited', sibling_ids: [first?.message_id, String] }, { role: 'assistant' }])
  t.strictSame(exported.runs.map(({ run_id: id }) => id), stored.runs.map(({ runId }) => runId))
  t.strictSame((await call('GET', `/v1/threads/${thread}`)).body, { thread: exported.thread, ...await positionOf('anna', thread) })
})

t.test('a long thread is exported whole and in order, in both formats', async (t) => {
  const call = await httpClient(server, 'bert')

  const json = (await call('GET', `/v1/threads/${long}/export?format=json`)).body as Exported
  const markdown = await call('GET', `/v1/threads/${long}/export?format=markdown`)

  const { messages, runs } = await readThread(storage, 'bert', long)
  t.equal(messages.length, 104)
  t.strictSame(json.messages, messages)
  t.strictSame(json.runs.map(({ run_id: id }) => id), runs.map(({ runId }) => runId))
  const said = [...markdown.text.matchAll(/^## (User|Assistant), (\S+)\n\n([^\n]*)$/gm)].map(([, who, at, content]) => ({ who, at, content }))
  t.strictSame(said, messages.map(({ role, created_at: at, content }) => ({ who: role === 'user' ? 'User' : 'Assistant', at, content })))
})

t.test('an empty thread is exported as valid JSON and as Markdown with its title', async (t) => {
  const call = await httpClient(server, 'cleo')
  const [untitled, titled] = [await server.thread('cleo'), await server.thread('cleo', 'Nothing\n# yet')]

  const json = await call('GET', `/v1/threads/${untitled}/export`)
  const markdown = await call('GET', `/v1/threads/${titled}/export?format=markdown`)

  t.match(json.body, { thread: { thread_id: untitled, title: null }, messages: [], runs: [], exported_at: /Z$/ })
  t.equal(json.headers.get('content-disposition'), `attachment; filename="thread-${untitled}.json"`)
  t.equal(markdown.headers.get('content-type'), 'text/markdown; charset=utf-8')
  t.equal(markdown.headers.get('content-disposition'), 'attachment; filename="Nothing-yet.md"')
  t.match(markdown.text, new RegExp(`^# Nothing # yet\n\nThread ${titled}, begun \\S+Z\n$`))
})

t.test('what a storage fails at in the middle of an export ends the connection, so that nobody takes it for the whole', async (t) => {
  let pages = 0
  exchange(t, async (history) => {
    pages += 1
    if (pages === 2) throw new Error('inside the storage')
    return await history()
  })

  const response = await begin(long, await server.token('bert'))
  const chunks: Buffer[] = []
  response.on('data', (chunk: Buffer) => chunks.push(chunk))
  const [error] = await once(response, 'error') as [NodeJS.ErrnoException]

  t.equal(response.statusCode, 200, 'it had begun')
  t.equal(error.code, 'ECONNRESET')
  t.throws(() => { JSON.parse(Buffer.concat(chunks).toString()) })
  t.notMatch(Buffer.concat(chunks).toString(), /inside/)
})

t.test('an export is read no faster than its client takes it, and no further once the client is gone', async (t) => {
  const thread = await server.thread('emil')
  const socket = await server.connect('emil', { thread })
  const long = 'x'.repeat(30_000)
  for (let nth = 0; nth < 6; nth += 1) await socket.chat(long)
  const page = await asUser('emil', () => storage.messages.history(thread, { limit: 10 }))
  let pages = 0
  exchange(t, async () => {
    pages += 1
    return { messages: page.messages, hasMore: pages < 200 } // gone through twice: 400 pages, of 180,000 characters each
  })
  const token = await server.token('emil')
  const left = Promise.withResolvers<void>()
  for (const node of server.gateways) node.server.once('request', (_request, response) => { response.once('close', () => { left.resolve() }) })

  const response = await begin(thread, token)
  const untaken = await untilStill(() => pages)
  response.destroy()
  await left.promise
  const atTheEnd = await untilStill(() => pages)

  t.equal(response.statusCode, 200)
  t.ok(untaken > 200 && untaken < 400, `${untaken} pages were read for a client that takes none`)
  t.ok(atTheEnd <= untaken + 1, `and ${atTheEnd} when it was gone`)
})

t.test('nothing is read for who asks for no more than the headers', async (t) => {
  let pages = 0
  exchange(t, async (history) => { pages += 1; return await history() })

  const { status } = await (await httpClient(server, 'bert'))('HEAD', `/v1/threads/${long}/export`)

  t.equal(status, 404)
  t.equal(pages, 0)
})

async function longThread (user: string, chats: number): Promise<ThreadId> {
  const thread = await server.thread(user)
  const socket = await server.connect(user, { thread })
  for (let nth = 0; nth < chats; nth += 1) await socket.chat(`message ${nth}`)
  await socket.close()
  return thread
}

/** The number, once it has not changed for many turns of the loop. */
async function untilStill (count: () => number): Promise<number> {
  for (let [last, turns] = [count(), 0]; turns < 200; turns += 1) {
    await new Promise(setImmediate)
    if (count() !== last) [last, turns] = [count(), 0]
  }
  return count()
}

/** The response of an export, of which nothing is read yet. */
async function begin (thread: string, token: string): Promise<IncomingMessage> {
  const request = get(`${server.url}/v1/threads/${thread}/export`, { headers: { authorization: `Bearer ${token}` } })
  const [response] = await once(request, 'response') as [IncomingMessage]
  return response
}

type History = Storage['messages']['history']

/** Lets somebody stand between the server and the history of its threads, until the test ends. */
function exchange (t: { teardown (fn: () => void): void }, instead: (history: () => Promise<MessagePage>) => Promise<MessagePage>): void {
  const messages = storage.messages as { history: History } // the real store, whose method is put back
  const { history } = messages
  t.teardown(() => { messages.history = history })
  messages.history = (threadId, page) => instead(() => history(threadId, page))
}

async function positionOf (user: string, thread: ThreadId) {
  const { sequence, activeRuns } = await asUser(user, () => storage.threads.state(thread))
  return { sequence, epoch: storage.epoch, active_runs: activeRuns }
}
