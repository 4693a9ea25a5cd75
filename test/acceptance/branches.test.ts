import t from 'tap'
import { defineAgent, type ConversationMessage } from '../../lib/agents/define-agent.ts'
import type { MessageView, PayloadOf, ServerEvent } from '../../lib/protocol/events.ts'
import { toRunId } from '../../lib/protocol/ids.ts'
import { createGatedAgent } from '../support/gated-agent.ts'
import { httpClient } from '../support/http-client.ts'
import { endOfRun } from '../support/run-end.ts'
import { startServer } from '../support/start-server.ts'
import { readThread } from '../support/stored-thread.ts'
import type { TestSocket } from '../support/test-socket.ts'

// A conversation as a tree, over sockets: what is edited or asked for again stands beside what there was. Users are named after what they do.

const gated = createGatedAgent()
/** What an agent was told of the conversation before each message. */
const told = new Map<string, readonly ConversationMessage[]>()
const remembering = defineAgent({
  name: 'remembering',
  async * run ({ content, history }) {
    told.set(content, history)
    yield { type: 'text', text: `re: ${content}` }
  }
})
const server = await startServer(t, { agents: [remembering, gated.agent], env: { DEFAULT_AGENT: 'remembering' } })
const { storage } = server.app

t.test('an edited message goes on from where the first stood, and its agent knows nothing of what came after that', async (t) => {
  const { socket, thread } = await talk('edit', ['one', 'two', 'three'])
  const [, , two] = await visible(socket)

  const completed = await socket.chat('two, edited', { edit_of: two?.message_id })

  const shown = await visible(socket)
  t.strictSame(contents(shown), ['one', 're: one', 'two, edited', 're: two, edited'])
  t.same(told.get('two, edited')?.map(({ content }) => content), ['one', 're: one'])
  t.equal(shown[2]?.parent_id, shown[1]?.message_id)
  t.strictSame(shown[2]?.sibling_ids, [two?.message_id, shown[2]?.message_id])
  t.equal(completed.payload.message_id, shown[3]?.message_id)
  t.equal((await readThread(storage, 'edit', thread)).runs.length, 4, 'nothing was lost')
  t.match(await socket.chat('and on'), { payload: { status: 'completed' } })
  t.same(told.get('and on')?.map(({ content }) => content), ['one', 're: one', 'two, edited', 're: two, edited'])
})

t.test('who else shows the thread is told of an edit and of a second answer before their runs begin', async (t) => {
  const { socket, thread } = await talk('both', ['one'])
  const other = await server.connect('both', { thread })
  const elsewhere = await server.connect('both', { thread: await server.thread('both') })
  const [one] = await visible(socket)

  await socket.chat('one, edited', { edit_of: one?.message_id })
  const again = await socket.ask({ type: 'regenerate', payload: {} })
  await other.until('agent_completed', ({ run_id: id }) => id === again.run_id)

  const seen = other.events.filter(({ type }) => type === 'branch_selected' || type === 'agent_started')
  t.match(seen, [
    { type: 'branch_selected', thread_id: thread, payload: { messages: [{ content: 'one, edited', parent_id: null }] } },
    { type: 'agent_started' },
    { type: 'branch_selected', payload: { messages: [{ content: 'one, edited' }] } },
    { type: 'agent_started', run_id: again.run_id }
  ])
  t.equal(seen.length, 4)
  t.strictSame(socket.ofType('branch_selected'), [], 'who asked for it was answered')
  t.strictSame(await elsewhere.settled().then(() => elsewhere.ofType('branch_selected')), [])
})

t.test('the first message of a thread can be edited as well, and only messages of the user can', async (t) => {
  const { socket } = await talk('first', ['one'])
  const [one, answer] = await visible(socket)

  await socket.chat('one, edited', { edit_of: one?.message_id })
  const refused = await socket.ask({ type: 'user_message', payload: { content: 'in its place', edit_of: answer?.message_id } })

  t.match(await visible(socket), [{ content: 'one, edited', parent_id: null }, { content: 're: one, edited' }])
  t.match(refused, { type: 'error', run_id: String, payload: { code: 'THREADLINE_NOT_FOUND' } })
})

t.test('an answer that is asked for again stands beside the first, by whichever agent and by whatever it is named', async (t) => {
  const { socket } = await talk('again', ['one', 'two'])
  const [one, first] = await visible(socket)

  const created = await socket.ask({ type: 'regenerate', id: 'again', payload: { message_id: first?.message_id, agent: 'echo' } })
  await socket.until('agent_completed', ({ run_id: id }) => id === created.run_id)
  const repeated = await socket.ask({ type: 'regenerate', id: 'again', payload: { message_id: first?.message_id, agent: 'echo' } })
  const shown = await visible(socket)
  const newest = await socket.ask({ type: 'regenerate', payload: {} })
  await socket.until('agent_completed', ({ run_id: id }) => id === newest.run_id)

  t.match(created, { type: 'run_created', payload: { message_id: one?.message_id, duplicate: false } })
  t.match(repeated, { type: 'run_created', run_id: created.run_id, payload: { run_id: created.run_id, duplicate: true } })
  t.match(shown, [{ message_id: one?.message_id }, { role: 'assistant', content: /you said: one$/, run_id: created.run_id }])
  t.equal(shown.length, 2, 'what followed the first answer is on its branch')
  t.strictSame(shown[1]?.sibling_ids, [first?.message_id, shown[1]?.message_id])
  t.match(newest.payload, { message_id: one?.message_id })
  const [, third] = await visible(socket)
  t.match(third, { content: 're: one', run_id: newest.run_id }, 'without a name it is the agent that answered first')
  t.equal(third?.sibling_ids.length, 3)
})

t.test('there is nothing to answer once more in an empty thread, nor with an agent that does not exist', async (t) => {
  const socket = await server.connect('empty', { thread: await server.thread('empty') })

  const nothing = await socket.ask({ type: 'regenerate', payload: {} })
  const nobody = await socket.ask({ type: 'regenerate', payload: { agent: 'nobody' } })
  const nowhere = await (await server.connect('empty')).ask({ type: 'regenerate', payload: {} })

  t.match(nothing, { type: 'error', payload: { code: 'THREADLINE_NOT_FOUND' } })
  t.match(nobody, { type: 'error', payload: { code: 'THREADLINE_AGENT_NOT_FOUND' } })
  t.match(nowhere, { type: 'error', payload: { code: 'THREADLINE_THREAD_REQUIRED' } })
})

t.test('a branch that is selected is shown to every tab in its thread, and is the one that goes on', async (t) => {
  const { socket, thread } = await talk('branch', ['one', 'two'])
  const before = await visible(socket)
  await socket.chat('two, edited', { edit_of: before[2]?.message_id })
  const [tab, elsewhere] = [await server.connect('branch', { thread }), await server.connect('branch', { thread: await server.thread('branch') })]

  const selected = await socket.ask({ type: 'select_branch', payload: { message_id: before[2]?.message_id } })
  const notice = await tab.until('branch_selected')
  await tab.chat('three')
  const [edited] = (await socket.ask({ type: 'get_thread_history', payload: {} }) as ServerEvent<'thread_history'>).payload.messages.slice(2)
  const other = edited?.sibling_ids.find((id) => id !== edited.message_id)
  const back = await socket.ask({ type: 'select_branch', payload: { message_id: other } })

  t.strictSame(contents((selected as ServerEvent<'branch_selected'>).payload.messages), contents(before))
  t.strictSame(notice.payload, selected.payload)
  t.same(told.get('three')?.map(({ content }) => content), contents(before))
  t.strictSame(contents((back as ServerEvent<'branch_selected'>).payload.messages), ['one', 're: one', 'two, edited', 're: two, edited'])
  const through = await Promise.all([before[3], before[0]].map((message) => socket.ask({ type: 'select_branch', payload: { message_id: message?.message_id } })))
  t.strictSame(through.map((answer) => contents((answer as ServerEvent<'branch_selected'>).payload.messages)), [
    [...contents(before), 'three', 're: three'], ['one', 're: one', 'two, edited', 're: two, edited']
  ], 'to its end, and where it parts, along the newest')
  t.equal(elsewhere.ofType('branch_selected').length, 0, 'who is in another thread is not told')
})

t.test('a message that was edited while it is still answered gets its answer on its own branch, and the edited one is shown', async (t) => {
  const { socket } = await talk('busy', ['one'])
  const slow = await socket.ask({ type: 'user_message', payload: { content: 'slow', agent: 'gated' } })
  await gated.arrived.next((content) => content === 'slow')
  const slowMessage = (slow as ServerEvent<'message_accepted'>).payload.message_id

  const edited = await socket.ask({ type: 'user_message', payload: { content: 'quick', edit_of: slowMessage } })
  gated.open('slow')
  for (const { run_id: runId } of [slow, edited]) await socket.until('agent_completed', ({ run_id: id }) => id === runId)

  t.strictSame(contents(await visible(socket)), ['one', 're: one', 'quick', 're: quick'])
  t.same(told.get('quick')?.map(({ content }) => content), ['one', 're: one'])
  const branch = await socket.ask({ type: 'select_branch', payload: { message_id: slowMessage } })
  t.strictSame(contents((branch as ServerEvent<'branch_selected'>).payload.messages), ['one', 're: one', 'slow', 'slow'])
})

t.test('messages that wait for each other stand in the order in which they were sent, each after the answer it waited for', async (t) => {
  const { socket } = await talk('queue', [])

  const accepted = []
  for (const content of ['q1', 'q2', 'q3']) accepted.push(await socket.ask({ type: 'user_message', payload: { content, agent: 'gated' } }))
  for (const content of ['q1', 'q2', 'q3']) gated.open(content)
  for (const { run_id: runId } of accepted) await socket.until('agent_completed', ({ run_id: id }) => id === runId)

  t.strictSame(contents(await visible(socket)), ['q1', 'q1', 'q2', 'q2', 'q3', 'q3'])
})

t.test('a fork has the conversation up to a message, and goes its own way', async (t) => {
  const { socket, thread } = await talk('fork', ['one', 'two'])
  const before = await readThread(storage, 'fork', thread)
  const tab = await server.connect('fork')

  const forked = await socket.ask({ type: 'fork_thread', payload: { thread_id: thread, message_id: before.messages[1]?.message_id, title: 'Otherwise' } })
  const { thread_id: fork } = (forked as ServerEvent<'thread_created'>).payload
  await socket.ask({ type: 'switch_thread', payload: { thread_id: fork } })
  await socket.chat('elsewhere')
  const answered = await socket.ask({ type: 'regenerate', payload: { message_id: (await visible(socket))[0]?.message_id } })
  await socket.until('agent_completed', ({ run_id: id }) => id === answered.run_id)

  t.match(forked, { type: 'thread_created', payload: { title: 'Otherwise' } })
  t.match(await tab.until('thread_created'), { payload: { thread_id: fork } })
  t.same(told.get('elsewhere')?.map(({ content }) => content), ['one', 're: one'])
  t.match(answered, { type: 'run_created', thread_id: fork }, 'also what no run of this thread has answered can be answered once more')
  const copies = await visible(socket)
  t.ok(copies.every(({ message_id: id, thread_id: in_ }) => in_ === fork && before.messages.every((message) => message.message_id !== id)), 'ids of its own')
  t.strictSame(await readThread(storage, 'fork', thread), before, 'and the source is as it was')
})

t.test('edit, second answer, branch, fork and export over HTTP give what the socket shows', async (t) => {
  const call = await httpClient(server, 'both')
  const thread = await server.thread('both', 'Both ways')
  const socket = await server.connect('both', { thread })
  const path = `/v1/threads/${thread}`
  const send = async (where: string, body: object): Promise<PayloadOf<'message_accepted'>> => {
    const accepted = (await call('POST', `${path}/runs${where}`, body)).body as PayloadOf<'message_accepted'> // its contract
    await endOfRun(server.app, 'both', toRunId(accepted.run_id))
    return accepted
  }

  const first = await send('', { content: 'What time is it?', agent: 'assistant' })
  await send('', { content: 'and now?', edit_of: first.message_id })
  await send('/regenerate', { agent: 'echo' })
  const edited = await visible(socket)
  const selected = (await call('POST', `${path}/branch`, { message_id: first.message_id })).body as PayloadOf<'branch_selected'>
  const exported = (await call('GET', `${path}/export`)).body as { readonly messages: readonly MessageView[] }
  const forked = (await call('POST', `${path}/fork`, {})).body as PayloadOf<'thread_created'>
  const copies = (await call('GET', `/v1/threads/${forked.thread_id}/messages`)).body as PayloadOf<'thread_history'>

  t.match(edited, [{ content: 'and now?' }, { content: /you said: and now\?$/ }])
  t.match(selected.messages, [{ content: 'What time is it?' }, { role: 'assistant' }])
  t.strictSame(selected.messages, await visible(socket))
  t.strictSame(exported.messages, selected.messages)
  t.strictSame(contents(copies.messages), contents(selected.messages))
  t.equal(forked.title?.includes('Both ways'), true)
})

t.test('nothing of all this was ever in a foreign context', async (t) => {
  t.equal(server.violations.length, 0)
})

/** A thread in which these messages were sent and answered, one after the other. */
async function talk (user: string, words: readonly string[]) {
  const thread = await server.thread(user)
  const socket = await server.connect(user, { thread })
  for (const word of words) await socket.chat(word)
  return { socket, thread }
}

async function visible (socket: TestSocket): Promise<readonly MessageView[]> {
  return (await socket.ask({ type: 'get_thread_history', payload: {} }) as ServerEvent<'thread_history'>).payload.messages
}

function contents (messages: readonly MessageView[]): readonly string[] {
  return messages.map(({ content }) => content)
}
