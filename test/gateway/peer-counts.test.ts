import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createInProcessHub } from '../../lib/events/in-process-bus.ts'
import { PeerCounts } from '../../lib/gateway/peer-counts.ts'
import { PeerNodes } from '../../lib/gateway/peer-nodes.ts'
import { Relay } from '../../lib/gateway/relay.ts'
import { newThreadId, toUserId } from '../../lib/protocol/ids.ts'
import { actingAs } from '../support/acting-as.ts'
import { createSilentLogger } from '../support/silent-logger.ts'

const thread = newThreadId()

/** After so long a node is gone. Its own timer, which is ten times as fast, never fires in a test. */
const timeoutMs = 6_000_000
const step = timeoutMs / 10

/** A node that has joined one thread of alice, over a clock that the test moves; another says what the test has it say, and keeps what it hears. */
function start (t: Test, lifeMs = 100) {
  const hub = createInProcessHub()
  const [bus, otherBus] = [hub.node('here'), hub.node('there')]
  const relay = new Relay({ bus, logger: createSilentLogger() })
  let time = 1_000
  const changes: number[] = []
  const now = (): number => time
  const nodes = new PeerNodes({
    bus, timeoutMs, memoryMs: lifeMs, now, changed: (node) => { void counts.judge(node) }, woke: () => { void counts.refresh({ ask: true }) }
  })
  const counts: PeerCounts = new PeerCounts({
    relay, nodes, here: () => 3, changed: () => { changes.push(counts.elsewhere(thread)) }, lifeMs, now
  })
  const topic = { kind: 'thread', userId: toUserId('alice'), threadId: thread } as const
  const heard: unknown[] = []
  const words: string[] = []
  otherBus.subscribe({ kind: 'nodes' }, (signal) => { if (signal.kind === 'message') words.push(signal.name) })
  otherBus.subscribe(topic, (signal) => { if (signal.kind === 'message') heard.push((signal.body as { content: unknown }).content) })
  const settled = async (): Promise<void> => { for (let turns = 0; turns < 5; turns += 1) await turn() }
  t.teardown(async () => {
    counts.stop()
    nodes.stop()
    await Promise.all([bus.close(), otherBus.close()])
  })
  return {
    hub,
    otherBus,
    counts,
    nodes,
    changes,
    heard,
    settled,
    asAlice: <T>(fn: () => T): T => actingAs('alice', fn),
    pass: (ms: number) => { time += ms },
    /** Lets time pass as it does in a node that works: it looks after the others all the while. */
    live: async (ms: number): Promise<void> => {
      for (let passed = 0; passed < ms; passed += step) {
        time += step
        nodes.look()
        await settled()
      }
    },
    word: async (name: string): Promise<void> => {
      otherBus.publish({ kind: 'nodes' }, { kind: 'message', name, body: {} })
      await settled()
    },
    /** What this node has said of itself, until now. */
    words: (): readonly string[] => words,
    say: async (content: object): Promise<void> => {
      otherBus.publish(topic, { kind: 'message', name: 'present', body: { user_id: 'alice', thread_id: thread, content } })
      await settled()
    }
  }
}

// kill: the comparison of versions in `#heard` of lib/gateway/peer-counts.ts.
t.test('a number that comes late does not take the place of a newer one, and one that comes twice changes nothing', async (t) => {
  const { counts, changes, asAlice, say } = start(t)
  asAlice(() => { counts.join(thread) })

  for (const [connections, version] of [[2, 5], [7, 4], [2, 5], [1, 6]]) await say({ connections, version, ask: false })

  t.same(changes, [2, 1])
  t.equal(asAlice(() => counts.elsewhere(thread)), 1)
  t.equal(actingAs('bob', () => counts.elsewhere(thread)), 0)
})

t.test('what is no number is passed over', async (t) => {
  const { counts, changes, asAlice, say } = start(t)
  asAlice(() => { counts.join(thread) })

  for (const connections of [-1, 1.5, '2', null, Number.MAX_VALUE]) await say({ connections, version: 1, ask: false })
  await say({ connections: 1, ask: false })

  t.same(changes, [])
})

t.test('a number expires when it is not said again, and nothing is left of a topic that was left', async (t) => {
  const { counts, changes, asAlice, say, pass } = start(t)
  asAlice(() => { counts.join(thread) })
  await say({ connections: 2, version: 1, ask: false })

  pass(99)
  t.equal(asAlice(() => counts.elsewhere(thread)), 2)
  pass(1)
  t.equal(asAlice(() => counts.elsewhere(thread)), 0)
  await counts.refresh()
  t.same(changes, [2, 0], 'whoever is here is told')
  await say({ connections: 4, version: 2, ask: false })
  asAlice(() => { counts.leave(thread) })
  await say({ connections: 5, version: 3, ask: false })

  t.equal(asAlice(() => counts.elsewhere(thread)), 0)
  t.same(changes, [2, 0, 4])
})

// kill: the deletion in `#expire` of lib/gateway/peer-counts.ts.
t.test('who is here is told once of what has expired, after which that node counts as one that has said nothing', async (t) => {
  const { counts, changes, asAlice, say, pass } = start(t)
  asAlice(() => { counts.join(thread) })
  await say({ connections: 2, version: 7, ask: false })

  pass(100)
  for (let round = 0; round < 3; round += 1) await counts.refresh()
  t.same(changes.splice(0), [2, 0])
  await say({ connections: 1, version: 1, ask: false })

  t.same(changes, [1], 'as of a node that has begun anew')
})

// kill: the emptying of `#joined` in `#askAgain` of lib/gateway/peer-counts.ts, or the comparison with it.
t.test('what was joined is asked after once more when the subscription stands for certain, and never again', async (t) => {
  const { counts, heard, asAlice, settled } = start(t)
  asAlice(() => { counts.join(thread) })
  await delay(400)
  await settled()
  t.match(heard.splice(0), [{ ask: true }, { ask: true }])

  asAlice(() => { counts.join() })
  await delay(400)
  await settled()

  t.same(heard, [], 'of another topic')
})

t.test('who is asked answers, who has others says its number often, and who has none seldom', async (t) => {
  const { counts, heard, asAlice, say, settled } = start(t)
  asAlice(() => { counts.join(thread) })
  await settled()
  t.match(heard.splice(0), [{ connections: 3, ask: true }])

  for (let round = 0; round < 8; round += 1) await counts.refresh()
  await settled()
  t.equal(heard.splice(0).length, 2)
  await say({ connections: 1, version: 1, ask: true })
  t.match(heard.splice(0), [{ connections: 3, ask: false }])
  for (let round = 0; round < 8; round += 1) await counts.refresh()
  await settled()
  t.equal(heard.length, 8)
})

/** A number holds longer than any test lasts. */
const longMs = 100 * timeoutMs

// kill: `isGone` out of `#counting` of lib/gateway/peer-counts.ts.
t.test('a node that says nothing for the time limit is gone with all that it has said, and what it had said holds again at its next word', async (t) => {
  const { counts, changes, nodes, asAlice, say, live, word } = start(t, longMs)
  asAlice(() => { counts.join(thread) })
  nodes.start()
  await say({ connections: 2, version: 1, ask: false })

  await live(timeoutMs - step)
  t.equal(asAlice(() => counts.elsewhere(thread)), 2)
  await live(step)
  t.equal(asAlice(() => counts.elsewhere(thread)), 0)
  await word('alive')
  t.equal(asAlice(() => counts.elsewhere(thread)), 2)

  t.same(changes, [2, 0, 2], 'whoever is here is told')
})

t.test('a node that is slow does not flap: one word in the time limit is enough', async (t) => {
  const { counts, changes, nodes, asAlice, say, live, word } = start(t, longMs)
  asAlice(() => { counts.join(thread) })
  nodes.start()
  await say({ connections: 2, version: 1, ask: false })

  for (let round = 0; round < 5; round += 1) {
    await live(timeoutMs - step)
    await word('alive')
  }

  t.same(changes, [2])
})

// kill: the comparison with 'left' in `heard` of lib/gateway/peer-nodes.ts.
t.test('a node that says goodbye is gone at once, and what it had said before and comes late does not count', async (t) => {
  const { counts, changes, nodes, asAlice, say, word } = start(t, longMs)
  asAlice(() => { counts.join(thread) })
  nodes.start()
  await say({ connections: 2, version: 1, ask: false })

  await word('left')
  await word('alive')
  await say({ connections: 5, version: 2, ask: false })

  t.same(changes, [2, 0])
  t.equal(asAlice(() => counts.elsewhere(thread)), 0)
})

// kill: `#beginAnew` in `look` of lib/gateway/peer-nodes.ts.
t.test('silence proves nothing while signals are lost here, nor after this node stood still itself', async (t) => {
  const { hub, counts, changes, nodes, heard, asAlice, say, live, pass, settled } = start(t, longMs)
  asAlice(() => { counts.join(thread) })
  nodes.start()
  await say({ connections: 2, version: 1, ask: false })

  hub.cut('here')
  await live(5 * timeoutMs)
  hub.mend('here')
  await live(timeoutMs - step)
  pass(3 * timeoutMs)
  heard.length = 0
  nodes.look()
  await settled()
  t.match(heard, [{ connections: 3, ask: true }], 'who has stood still for so long says its numbers, and asks for the others\'')
  await live(timeoutMs - step)
  t.same(changes, [2])
  await live(step)

  t.same(changes, [2, 0])
})

// What a thousand connected users cost: one message for each topic in a heartbeat of 25 s, as it was, and a third of a message a second for the node.
t.test('a node says that it is there three times in the time limit however many users it has, and nothing once nobody is connected', async (t) => {
  const { counts, nodes, otherBus, words, live, settled } = start(t, longMs)
  let told = 0
  for (let user = 0; user < 1_000; user += 1) {
    const userId = toUserId(`user-${user}`)
    otherBus.subscribe({ kind: 'user', userId }, () => { told += 1 })
    actingAs(userId, () => { counts.join() })
    const body = { user_id: userId, thread_id: null, content: { connections: 1, version: 1, ask: false } }
    otherBus.publish({ kind: 'user', userId }, { kind: 'message', name: 'present', body })
  }
  while (told < 2_000) await delay(20) // as they were joined, and once more by a timer when the subscriptions stand for certain
  await settled()
  told = 0
  await counts.refresh()
  await settled()
  const toldInHeartbeat = told

  nodes.start()
  nodes.start()
  await live(10 * timeoutMs)
  const said = words().length
  nodes.stop()
  await live(0)
  nodes.sayGoodbye()
  await live(step)

  t.equal(toldInHeartbeat, 1_000)
  t.equal(said, 33)
  t.same(words().slice(said).filter((word) => word !== 'alive'), ['left'])
})

t.test('it is known when a node may turn out to be gone', async (t) => {
  const { counts, nodes, asAlice, live, word } = start(t, longMs)
  asAlice(() => { counts.join() })
  nodes.start()

  t.equal(asAlice(() => counts.decidedInMs), undefined)
  await word('alive')
  t.equal(nodes.decidedInMs('there'), timeoutMs)
  await live(3 * step)

  t.equal(nodes.decidedInMs('there'), timeoutMs - 3 * step)
})
