import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { createSigner } from '../../lib/context/signature.ts'
import { BusEnd } from '../../lib/events/bus-end.ts'
import { OutgoingPosts } from '../../lib/events/outgoing-posts.ts'
import { watchCounters } from '../support/counters.ts'
import { createSilentLogger } from '../support/silent-logger.ts'
import { sumOf, threadTopic } from './bus-contract.ts'

const message = (body: unknown) => ({ kind: 'message', name: 'typing', body } as const)
const all = 1024 * 1024 * 1024

function outgoing (t: Test) {
  const counts = watchCounters(t)
  const end = new BusEnd({ node: 'here', signer: createSigner([randomBytes(32)]), logger: createSilentLogger(), bus: 'postgres' })
  return { posts: new OutgoingPosts(end), dropped: () => sumOf(counts, { direction: 'sent', outcome: 'dropped' }) }
}

t.test('of one thread the newest hint waits, in whatever order they come', async (t) => {
  // kill: `waiting.sequence = sequence` in `#addHint` of lib/events/outgoing-posts.ts
  const { posts } = outgoing(t)
  const [topic, other] = [threadTopic('alice'), threadTopic('bob')]

  for (const sequence of [3, 7, 5]) posts.add(topic, { kind: 'events', sequence })
  posts.add(other, { kind: 'events', sequence: 1 })

  t.same(posts.take(all).map((post) => JSON.parse(post) as unknown), [
    [['thread', topic.userId, topic.threadId], 'events', 7, null], [['thread', other.userId, other.threadId], 'events', 1, null]
  ])
  t.ok(posts.isEmpty)
})

t.test('of too many hints and of too many messages the oldest go, and are counted', async (t) => {
  // kill: the condition of the `if`, or of the `while`, in lib/events/outgoing-posts.ts
  const { posts, dropped } = outgoing(t)
  const [{ userId }, { threadId }] = [threadTopic('alice'), threadTopic('alice')]

  for (let index = 0; index < 20_003; index += 1) posts.add({ kind: 'user', userId: `${userId} ${index}` as typeof userId }, { kind: 'events', sequence: 1 })
  t.equal(dropped(), 3)
  t.match(posts.take(1), [/ 3"/])
  for (let index = 0; index < 5_002; index += 1) posts.add({ kind: 'thread', userId, threadId }, message(index))
  t.equal(dropped(), 5)
  posts.dropMessages()
  t.equal(dropped(), 5_005)
})

t.test('large messages are bounded by their size', async (t) => {
  // kill: no `maxMessageBytes` in `add` of lib/events/outgoing-posts.ts
  const { posts, dropped } = outgoing(t)

  for (let index = 0; index < 50; index += 1) posts.add({ kind: 'work' }, message('x'.repeat(200_000)))

  t.ok(dropped() > 0)
  const taken = posts.take(all)
  t.equal(taken.length + dropped(), 50)
  t.ok(taken.join('').length <= 8 * 1024 * 1024)
})
