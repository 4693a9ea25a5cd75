import Fastify from 'fastify'
import t from 'tap'
import threadline from '../../app.ts'
import { attributes } from '../../lib/context/attributes.ts'
import type { ServerEvent } from '../../lib/protocol/events.ts'
import { fewerNodes } from '../support/fewer-nodes.ts'
import { createScriptedModel } from '../support/scripted-model.ts'
import { startServer } from '../support/start-server.ts'
import { asUser } from '../support/stored-thread.ts'
import type { TestSocket } from '../support/test-socket.ts'
import { traceIdOf } from '../support/trace-of.ts'

const titler = createScriptedModel('titler')
const server = await startServer(t, { models: { titler: titler.model }, env: { TITLE_MODEL: 'titler', TITLE_TIMEOUT_MS: 600_000 }, only: fewerNodes.titles })
const { storage } = server.app

const callAbout = (text: string) => titler.calls.next((call) => call.asked.includes(text))

async function titleOf (socket: TestSocket, thread: string): Promise<unknown> {
  const answer = await socket.ask({ type: 'get_thread', payload: { thread_id: thread } }) as ServerEvent<'thread_state'>
  return answer.payload.thread.title
}

t.test('a thread gets a title after its first answer, and every tab of its user is told, nobody else', async (t) => {
  // kill: let `#audienceOf` of lib/gateway/announcements.ts give all connections
  const elsewhere = await server.connect('alice', { thread: await server.thread('alice', 'Another one') })
  const stranger = await server.connect('bob', { thread: await server.thread('bob', 'Mine') })
  const socket = await server.connect('alice')

  const completed = await socket.chat('Tell me about bees', { agent: 'echo' })
  const call = await callAbout('Tell me about bees')
  call.say('"About bees."')
  const told = await Promise.all([socket, elsewhere].map((tab) => tab.until('thread_updated')))

  const thread = completed.thread_id ?? ''
  for (const event of told) {
    t.match(event, { user_id: 'alice', payload: { thread_id: thread, title: 'About bees' } })
    t.equal(event.sequence, undefined, 'it is no event of the thread')
  }
  t.equal(told[0]?.event_id, told[1]?.event_id)
  t.match(call.asked, new RegExp(`in thread ${thread}`), 'the model has read the answer too')
  t.equal(call.options.maxOutputTokens, 32)
  t.equal(await titleOf(socket, thread), 'About bees')
  t.same((await stranger.settled()).filter(({ type }) => type === 'thread_updated'), [])
  t.same(server.violations, [], 'and nobody was about to')

  t.test('once it has one, no model is asked again', async (t) => {
    const asked = titler.called

    await socket.chat('And about wasps', { agent: 'echo' })
    await socket.chat('And about hornets', { agent: 'echo' })

    t.equal(titler.called, asked)
    t.equal(await titleOf(socket, thread), 'About bees')
  })

  t.test('what it has cost is on the account of the user, beside the run', async (t) => {
    const usage = await asUser('alice', async () => await storage.account.usage())

    t.same(usage.models, [{ model: 'titler-2026', inputTokens: 7, outputTokens: 3 }])
    t.same((await asUser('bob', async () => await storage.account.usage())).models, [])
  })

  t.test('the model is asked in the trace of the message, for its user, thread and run', async (t) => {
    const chat = await server.spans.until((spans) => spans.find((span) => span.name === 'chat titler'))

    t.equal(chat.spanContext().traceId, traceIdOf(completed))
    t.match(chat.attributes, {
      [attributes.userId]: 'alice', [attributes.threadId]: thread, [attributes.runId]: completed.run_id, [attributes.responseModel]: 'titler-2026'
    })
    const trace = server.spans.byTrace().get(traceIdOf(completed)) ?? []
    t.ok(trace.some((span) => span.spanContext().spanId === chat.parentSpanContext?.spanId), 'its parent is a span of that trace')
  })
})

t.test('a title delays nothing: while its model says nothing, answers come, in that thread and in others', async (t) => {
  // kill: `await` the listeners where `endedRuns.tell` is called in lib/engine/thread-loops.ts, and return the promise of `title` from `consider`
  const [socket, other] = [await server.connect('carol'), await server.connect('carol')]
  const first = await socket.chat('Carol asks', { agent: 'echo' })
  const call = await callAbout('Carol asks')

  const second = await socket.chat('And asks again', { agent: 'echo' })
  const otherAnswer = await other.chat('And elsewhere', { agent: 'echo' })
  const load = { ...server.app.engine.load }
  call.say('Questions')
  const told = await socket.until('thread_updated')
  const elsewhere = await callAbout('And elsewhere')
  elsewhere.say('Elsewhere')
  await other.until('thread_updated')

  t.match([first, second, otherAnswer].map(({ payload }) => payload.status), ['completed', 'completed', 'completed'])
  t.equal(second.thread_id, first.thread_id)
  t.same(load.slotsTaken, 0)
  t.match(told.payload, { thread_id: first.thread_id, title: 'Questions' })
  t.notOk(titler.calls.waiting.some(({ asked }) => asked.includes('And asks again')), 'one title at a time is looked for in a thread')
})

t.test('a title that the user gives meanwhile stays, and a thread with a title is left alone', async (t) => {
  const socket = await server.connect('dave')
  const titled = await server.connect('dave', { thread: await server.thread('dave', 'Mine from the start') })

  const completed = await socket.chat('Dave asks', { agent: 'echo' })
  const thread = completed.thread_id ?? ''
  const call = await callAbout('Dave asks')
  await socket.ask({ type: 'rename_thread', payload: { thread_id: thread, title: 'My own' } })
  call.say('Not my own')
  const asked = titler.called
  await titled.chat('Dave asks more', { agent: 'echo' })
  await socket.chat('Dave goes on', { agent: 'echo' })

  t.equal(await titleOf(socket, thread), 'My own')
  t.equal(titler.called, asked)
  t.same((await socket.settled()).filter(({ type, payload }) => type === 'thread_updated' && 'title' in payload && payload.title === 'Not my own'), [])
})

t.test('a run that does not complete gives no title, and the next answer does; what fails is only logged', async (t) => {
  const socket = await server.connect('erin')
  const asked = titler.called

  const failed = await socket.chat('/fail out of luck')
  const untitled = titler.called
  await socket.chat('Erin tries again', { agent: 'echo' })
  const call = await callAbout('Erin tries again')
  call.fail(new Error('the model is away'))
  await socket.chat('Erin goes on', { agent: 'echo' })
  const again = await callAbout('Erin goes on')
  again.say('Out of luck')
  const told = await socket.until('thread_updated')

  t.match(failed.payload, { status: 'failed' })
  t.equal(untitled, asked)
  t.match(told.payload, { thread_id: failed.thread_id, title: 'Out of luck' })
  t.match(server.log.filter(({ msg }) => msg === 'a thread was given no title'), [{ level: 40, user_id: 'erin' }])
})

t.test('fifty threads of ten users at once each get their own title', async (t) => {
  // kill: bind `title` once, at the first `consider` of lib/engine/title-generator.ts
  const chats = Array.from({ length: 50 }, async (_, index) => {
    const socket = await server.connect(`fifty-${index % 10}`)
    const completed = await socket.chat(`fifty ${index}.`, { agent: 'echo' })
    const call = await callAbout(`fifty ${index}.`)
    call.say(`The title ${index}`)
    return { completed, told: await socket.until('thread_updated', ({ payload }) => payload.thread_id === completed.thread_id) }
  })

  for (const [index, { completed, told }] of (await Promise.all(chats)).entries()) {
    t.match(told, { user_id: completed.user_id, payload: { title: `The title ${index}` } })
  }
  t.equal(server.violations.length, 0)
})

t.test('the server closes while a title is looked for, and a title model that does not exist keeps it from starting', async (t) => {
  const socket = await server.connect('frank')
  await socket.chat('Frank asks', { agent: 'echo' })
  const call = await callAbout('Frank asks')

  await server.close()

  t.ok(call.options.abortSignal?.aborted)
  const app = Fastify({ pluginTimeout: 120_000 })
  t.teardown(() => app.close())
  await t.rejects(async () => { await app.register(threadline, { env: { DATA_DIR: 'memory', TITLE_MODEL: 'openai:small' } }) }, {
    code: 'THREADLINE_INVALID_CONFIGURATION', field: 'TITLE_MODEL'
  })
})

t.test('without configuration the local model gives the first words as title', async (t) => {
  const plain = await startServer(t, { env: { TITLE_MODEL: undefined } })
  const socket = await plain.connect('alice')

  await socket.chat('What is the time in Vienna, by the way?')
  const told = await socket.until('thread_updated')

  t.match(told.payload, { title: 'What is the time in Vienna,' })
})
