import t, { type Test } from 'tap'
import { canaryAgent } from '../../lib/canary/canary-agent.ts'
import { canaryUsers, isCanary } from '../../lib/canary/canary-users.ts'
import { markersIn } from '../../lib/canary/markers.ts'
import { attributes } from '../../lib/context/attributes.ts'
import { guard } from '../../lib/context/guard.ts'
import { createEvent } from '../../lib/gateway/create-event.ts'
import type { SentEvent } from '../../lib/gateway/sent-events.ts'
import { toUserId } from '../../lib/protocol/ids.ts'
import { actingAs } from '../support/acting-as.ts'
import { watchCounters } from '../support/counters.ts'
import { fewerNodes } from '../support/fewer-nodes.ts'
import { createScriptedModel } from '../support/scripted-model.ts'
import { startServer, type TestServer } from '../support/start-server.ts'
import { watchCanary } from '../support/watch-canary.ts'

const on = { THREADLINE_CANARY: 'on', THREADLINE_CANARY_INTERVAL_MS: 1 }

/** The next event with a marker in it that a canary is sent. */
async function nextToCanary (t: Test, { app }: TestServer): Promise<SentEvent> {
  const { promise, resolve } = Promise.withResolvers<SentEvent>()
  t.teardown(app.gateway.onSent((sent) => { if (isCanary(sent.connection.userId) && markersIn(sent.frame).size > 0) resolve(sent) }))
  return await promise
}

/** What is stored of a user: threads with their messages and runs, those that are deleted included. */
async function storedOf (user: string, { app }: TestServer): Promise<unknown> {
  return await actingAs(user, () => app.storage.account.usage())
}

t.test('canaries find nothing while users chat, and leave nothing behind', async (t) => {
  const counts = watchCounters(t)
  const canary = watchCanary(t)
  const server = await startServer(t, { only: fewerNodes.process, env: { ...on, MESSAGES_PER_WINDOW: 1, MESSAGE_WINDOW_MS: 1 } })
  const [alice, bob] = [await server.connect('alice'), await server.connect('bob')]

  const rounds = canary.next(20)
  let over = false
  const chatting = [alice, bob].map(async (socket, index) => {
    await socket.ask({ type: 'user_message', payload: { content: `hello from ${index}`, agent: 'echo' } })
    for (let turn = 0; !over; turn += 1) await socket.chat(`turn ${turn}`, { agent: 'echo' }).catch(() => undefined) // the window may be full
  })
  const ended = await rounds
  over = true
  await Promise.all(chatting)

  t.same(ended, Array(20).fill({ outcome: 'ok', crossings: 0 }))
  t.same(canary.crossings, [])
  t.same(server.violations, [])
  const sum = (name: string) => counts.filter(({ counter }) => counter === name).reduce((all, { value }) => all + value, 0)
  t.ok(sum('threadline.canary.rounds') >= 20)
  t.equal(sum('threadline.canary.crossed'), 0)
  t.ok(counts.some(({ counter, value, attributes }) => counter === 'threadline.canary.crossed' && value === 0 && attributes?.['where'] === 'search'), 'it begins at 0')
  await server.app.gateway.drain() // no round begins any more
  await server.app.engine.close(1_000)
  t.equal(server.log.filter(({ level, msg }) => level >= 40 && /canar/i.test(msg)).length, 0)
})

t.test('nothing of a round is kept', async (t) => {
  const canary = watchCanary(t)
  const server = await startServer(t, { only: fewerNodes.process, env: { ...on, THREADLINE_CANARY_INTERVAL_MS: 3_600_000 } })
  if (canary.rounds.length === 0) await canary.next()

  for (const user of Object.values(canaryUsers)) {
    t.same(await storedOf(user, server), { threads: 0, messages: 0, runs: 0, models: [] })
  }
  t.match(server.app.gateway.load, { connections: 0, users: 0, followedThreads: 0, windows: 0, topics: 0 })
  t.match(server.app.engine.load, { sessions: 0, runs: 0, slotsTaken: 0, waiting: 0 })
})

// kill: no `title` in lib/canary/seat.ts
t.test('no model is asked for a title of theirs', async (t) => {
  const titler = createScriptedModel('titler')
  const canary = watchCanary(t)
  await startServer(t, { only: fewerNodes.process, models: { titler: titler.model }, env: { ...on, TITLE_MODEL: 'titler' } })

  await canary.next(2)

  t.equal(titler.called, 0)
})

t.test('nobody can be a canary, and nobody else can name their agent', async (t) => {
  const server = await startServer(t, { only: fewerNodes.process, env: on })

  const answer = await fetch(`${server.url}/v1/me`, { headers: { authorization: `Bearer ${await server.token(canaryUsers.a)}` } })
  const opened = await server.open(canaryUsers.a)
  const listed = await fetch(`${server.url}/v1/agents`, { headers: { authorization: `Bearer ${await server.token('alice')}` } })
  const alice = await server.connect('alice')
  const named = await alice.ask({ type: 'user_message', payload: { content: 'hello', agent: canaryAgent.name } })

  t.equal(answer.status, 401)
  t.match(opened, { status: 401 })
  t.notMatch(await listed.text(), canaryAgent.name)
  t.match(named, { type: 'error', payload: { code: 'THREADLINE_AGENT_NOT_FOUND' } })
})

t.test('what is in the wrong place raises the alarm', async (t) => {
  const counts = watchCounters(t)
  const canary = watchCanary(t)
  const server = await startServer(t, { only: fewerNodes.process, env: on })
  const { gateway } = server.app
  const alice = await server.connect('alice')
  const connectionsOf = (user: string) => actingAs(user, () => [...gateway.registry.getUserConnections()])

  t.test('a frame of a canary on the connection of a user', async (t) => {
    const found = canary.crossing('frame')
    const { frame, connection: { userId } } = await nextToCanary(t, server)

    actingAs('alice', () => { for (const connection of connectionsOf('alice')) connection.write(createEvent('pong', {}), frame) })

    const crossing = await found
    t.match(crossing, { where: 'frame', canary: userId, foundAt: 'alice', connectionId: connectionsOf('alice')[0]?.connectionId })
    const line = server.log.find(({ level, where }) => level === 50 && where === 'frame')
    t.match(line, { msg: /canary/, found_at: 'alice', trace_id: /^[0-9a-f]{32}$/ })
    const span = await server.spans.until((spans) => spans.find(({ name }) => name === 'canary.crossed'))
    t.equal(span.attributes[attributes.violation], 'crossed')
    t.equal(span.spanContext().traceId, line?.['trace_id'])
    t.ok(counts.some(({ counter, value, attributes }) => counter === 'threadline.canary.crossed' && value === 1 && attributes?.['where'] === 'frame'))
    t.notMatch(JSON.stringify(server.log), markersIn(frame).values().next().value ?? '', 'what was said is in no log')
  })

  t.test('an event of a canary\'s thread without its marker', async (t) => {
    const found = canary.crossing('frame')
    const { event: { thread_id: threadId } } = await nextToCanary(t, server)
    const presence = actingAs('alice', () => createEvent('presence', { connections: 1 }, { threadId }))

    actingAs('alice', () => { for (const connection of connectionsOf('alice')) connection.write(presence) })

    t.match(await found, { what: 'presence', threadId, foundAt: 'alice' })
  })

  t.test('a word of a canary in what a user says, hears and reads', async (t) => {
    const [found, answered] = [canary.crossing('frame'), canary.crossing('response')]
    const [marker] = markersIn((await nextToCanary(t, server)).frame)
    const thread = await server.thread('alice', marker)

    const response = await fetch(`${server.url}/v1/threads/${thread}`, { headers: { authorization: `Bearer ${await server.token('alice')}` } })

    t.equal(response.status, 200)
    t.match(await found, { what: 'thread_created', foundAt: 'alice' })
    t.match(await answered, { what: '/v1/threads/:thread_id' })
  })

  t.test('the word of one canary with another one', async (t) => {
    const found = canary.crossing('frame')
    const { frame, connection: { userId } } = await nextToCanary(t, server)
    const other = Object.values(canaryUsers).find((user) => user !== userId) ?? userId

    actingAs(other, () => { for (const connection of connectionsOf(other)) connection.write(createEvent('pong', {}), frame) })

    t.match(await found, { canary: userId, foundAt: other })
  })

  t.test('an event of a user with a canary', async (t) => {
    const found = canary.crossing('received')
    const { connection: { userId } } = await nextToCanary(t, server)
    const hers = JSON.stringify(actingAs('alice', () => createEvent('pong', {})))

    actingAs(userId, () => { for (const connection of connectionsOf(userId)) connection.write(createEvent('pong', {}), hers) })

    t.match(await found, { what: 'pong', canary: userId, foundAt: 'alice' })
  })

  t.test('an access to what is a canary\'s, which the guard refuses', async (t) => {
    const found = canary.crossing('guard')

    t.throws(() => actingAs('alice', () => { guard({ userId: canaryUsers.b }, 'storage') }), { code: 'THREADLINE_CONTEXT_MISMATCH' })

    t.match(await found, { what: 'storage', canary: canaryUsers.b, foundAt: 'alice' })
  })

  t.test('and once nothing is in the wrong place any more, rounds are well again', async (t) => {
    await alice.close()
    await canary.next()

    t.match(await canary.next(), [{ outcome: 'ok', crossings: 0 }])
    t.ok(canary.rounds.some(({ outcome, crossings }) => outcome === 'failed' && crossings > 0), 'the others were not')
  })
})

t.test('a user who writes what looks like a marker raises nothing', async (t) => {
  const canary = watchCanary(t)
  const server = await startServer(t, { only: fewerNodes.process, env: on })
  const alice = await server.connect('alice')
  await alice.ask({ type: 'user_message', payload: { content: 'hello', agent: 'echo' } })

  await alice.chat(`threadlinecanary${'0'.repeat(32)}`, { agent: 'echo' })
  await canary.next()

  t.same(canary.crossings, [])
})

t.test('a server that closes gives its round up', async (t) => {
  const canary = watchCanary(t)
  const server = await startServer(t, { only: fewerNodes.process, env: on })
  await nextToCanary(t, server)
  const before = canary.rounds.length

  await server.close()

  t.equal(canary.rounds.length, before, 'it counts as none')
  t.equal(server.log.filter(({ msg, level }) => level >= 40 && /canar/i.test(msg)).length, 0)
  t.match(server.app.gateway.load, { connections: 0, followedThreads: 0 })
})

t.test('without the setting there is none of it', async (t) => {
  const canary = watchCanary(t)
  const server = await startServer(t)
  const registry = server.app.agents

  t.equal(actingAs(toUserId(canaryUsers.a), () => registry.has(canaryAgent.name)), false)
  t.match(await server.open(canaryUsers.a), { status: 401 }, 'the names are reserved all the same')
  t.same(canary.rounds, [])
})
