import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createInProcessHub } from '../../lib/events/in-process-bus.ts'
import { PeerCounts } from '../../lib/gateway/peer-counts.ts'
import { Relay } from '../../lib/gateway/relay.ts'
import { newThreadId, toUserId } from '../../lib/protocol/ids.ts'
import { actingAs } from '../support/acting-as.ts'
import { createSilentLogger } from '../support/silent-logger.ts'

const thread = newThreadId()

/** A node that has joined one thread of alice, over a clock that the test moves; another says what the test has it say, and keeps what it hears. */
function start (t: Test) {
  const hub = createInProcessHub()
  const [bus, otherBus] = [hub.node('here'), hub.node('there')]
  const relay = new Relay({ bus, logger: createSilentLogger() })
  let time = 1_000
  const changes: number[] = []
  const counts: PeerCounts = new PeerCounts({
    relay, here: () => 3, changed: () => { changes.push(counts.elsewhere(thread)) }, lifeMs: 100, now: () => time
  })
  const topic = { kind: 'thread', userId: toUserId('alice'), threadId: thread } as const
  const heard: unknown[] = []
  otherBus.subscribe(topic, (signal) => { if (signal.kind === 'message') heard.push((signal.body as { content: unknown }).content) })
  const settled = async (): Promise<void> => { for (let turns = 0; turns < 5; turns += 1) await turn() }
  t.teardown(async () => {
    counts.stop()
    await Promise.all([bus.close(), otherBus.close()])
  })
  return {
    counts,
    changes,
    heard,
    settled,
    asAlice: <T>(fn: () => T): T => actingAs('alice', fn),
    pass: (ms: number) => { time += ms },
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
