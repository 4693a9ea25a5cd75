import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { tryCurrentIdentity } from '../../lib/context/current-thread.ts'
import { createInProcessHub } from '../../lib/events/in-process-bus.ts'
import { Relay } from '../../lib/gateway/relay.ts'
import { newThreadId, toUserId } from '../../lib/protocol/ids.ts'
import { actingAs } from '../support/acting-as.ts'
import { createSilentLogger } from '../support/silent-logger.ts'
import { watchViolations } from '../support/violations.ts'

interface HeardMessage { readonly content: unknown, readonly userId: string | undefined, readonly threadId: string | undefined, readonly from: string }

/** Two nodes; what the second one hears under the name `said` is kept with the identity in which it did. */
function startTwo (t: Test) {
  const hub = createInProcessHub()
  const logger = createSilentLogger()
  const [busHere, busThere] = [hub.node('here'), hub.node('there')]
  const [here, there] = [new Relay({ bus: busHere, logger }), new Relay({ bus: busThere, logger })]
  const heard: HeardMessage[] = []
  for (const kind of ['user', 'thread'] as const) {
    there.hear(kind, 'said', (content, from) => {
      const identity = tryCurrentIdentity()
      heard.push({ content, from, userId: identity?.userId, threadId: identity?.threadId })
    })
  }
  t.teardown(async () => { await Promise.all([busHere.close(), busThere.close()]) })
  return { here, there, busHere, busThere, heard, logger }
}

async function settled (): Promise<void> {
  for (let turns = 0; turns < 5; turns += 1) await turn()
}

// kill: `topicOf` of lib/gateway/relay.ts gives one topic for all users.
t.test('a message is heard in the identity of its topic\'s owner, and by nobody who has not joined that topic', async (t) => {
  const violations = watchViolations(t)
  const { here, there, heard } = startTwo(t)
  const [first, second] = [newThreadId(), newThreadId()]
  actingAs('alice', () => {
    there.join()
    there.join(first)
  })
  actingAs('bob', () => { there.join() })

  actingAs('alice', () => {
    here.send('said', { word: 'user' })
    here.send('said', { word: 'thread' }, first)
    here.send('said', { word: 'other thread' }, second)
    here.send('unknown', { word: 'other name' })
  })
  actingAs('carol', () => {
    here.send('said', { word: 'carol' })
    here.send('said', { word: 'carol in the thread of alice' }, first)
  })
  await settled()

  t.same(heard, [
    { content: { word: 'user' }, from: 'here', userId: 'alice', threadId: undefined },
    { content: { word: 'thread' }, from: 'here', userId: 'alice', threadId: first }
  ])
  t.same(violations, [])
})

// kill: `guardClaim(body)` out of `#hear` in lib/gateway/relay.ts.
t.test('a message that says it is about somebody else, or about another thread, is refused and counted', async (t) => {
  const violations = watchViolations(t)
  const { there, busHere, heard, logger } = startTwo(t)
  const [threadId, other] = [newThreadId(), newThreadId()]
  const userId = toUserId('alice')
  actingAs('alice', () => {
    there.join()
    there.join(threadId)
  })
  const claims: readonly [kind: 'user' | 'thread', claim: object][] = [
    ['user', { user_id: 'bob', thread_id: null }],
    ['user', { user_id: 'alice', thread_id: threadId }],
    ['thread', { user_id: 'bob', thread_id: threadId }],
    ['thread', { user_id: 'alice', thread_id: other }],
    ['thread', { user_id: 'alice', thread_id: null }],
    ['thread', { user_id: 'alice' }],
    ['thread', {}]
  ]

  for (const [kind, claim] of claims) {
    const topic = kind === 'user' ? { kind, userId } : { kind, userId, threadId }
    busHere.publish(topic, { kind: 'message', name: 'said', body: { ...claim, content: { word: 'forged' } } })
  }
  busHere.publish({ kind: 'user', userId }, { kind: 'message', name: 'said', body: 'no object' })
  busHere.publish({ kind: 'user', userId }, { kind: 'message', name: 'said', body: { user_id: 'alice', thread_id: null } })
  await settled()

  t.same(heard, [])
  t.same(violations.map(({ place, kind, identity }) => [place, kind, identity?.userId]), claims.map(() => ['event-bus', 'crossed', 'alice']))
  t.equal(logger.lines.filter(({ level }) => level === 'warn').length, claims.length + 2)
})

// kill: no `unsubscribe()` in `leave` of lib/gateway/relay.ts.
t.test('a topic is subscribed once, from its first join to its leaving, and nothing is heard of it afterwards', async (t) => {
  const { here, there, busThere, heard } = startTwo(t)
  const threadId = newThreadId()
  actingAs('alice', () => {
    there.join()
    there.join()
    there.join(threadId)
  })
  t.equal(busThere.subscribed, 2)

  actingAs('bob', () => { there.leave(threadId) })
  t.equal(busThere.subscribed, 2, 'another user leaves nothing of hers')
  actingAs('alice', () => {
    here.send('said', { word: 'on its way' })
    there.leave()
    there.leave(threadId)
    there.leave(threadId)
  })
  await settled()

  t.equal(busThere.subscribed, 0)
  t.equal(there.size, 0)
  t.same(heard, [])
})

t.test('J123 nothing is sent or joined without an identity', async (t) => {
  const { here } = startTwo(t)

  t.throws(() => { here.send('said', {}) }, { code: 'THREADLINE_NO_CONTEXT' })
  t.throws(() => { here.join() }, { code: 'THREADLINE_NO_CONTEXT' })
})

t.test('a node that has no others tells and joins nothing', async (t) => {
  const relay = new Relay({ bus: undefined, logger: createSilentLogger() })

  actingAs('alice', () => {
    relay.join()
    relay.send('said', {})
    relay.leave()
  })

  t.equal(relay.size, 0)
})

t.test('one listener that fails is logged, and the next message is heard', async (t) => {
  const { here, there, heard, logger } = startTwo(t)
  there.hear('user', 'failing', () => { throw new Error('it failed') })
  actingAs('alice', () => { there.join() })

  actingAs('alice', () => {
    here.send('failing', {})
    here.send('said', { word: 'after' })
  })
  await settled()

  t.match(logger.lines, [{ level: 'warn', fields: { message: 'failing', from: 'here' } }])
  t.match(heard, [{ content: { word: 'after' } }])
})
