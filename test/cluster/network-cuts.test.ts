import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { enough } from '../support/cluster/enough.ts'
import { findRedis, startRedisServer } from '../support/cluster/redis-server.ts'
import { needsServers, openScene, statusesOf } from '../support/cluster/scene.ts'

t.setTimeout(280_000)

/** Longer than clients of the tests wait for an answer. */
const cutMs = 12_000

const needsRedis = findRedis() === undefined ? { skip: 'needs Redis' } : needsServers
const shortLease = { LEASE_MS: '2000' }
/** More than it takes to say hello to Redis. */
const leastBytes = 2_000

t.test('a network cut between nodes and Redis, a gateway\'s and a worker\'s: what happens is told all the same', needsRedis, async (t) => {
  const redis = await startRedisServer(t)
  const scene = await openScene(t, { redisUrl: redis.url })
  const cut = [scene.cluster.node('gateway-0'), scene.cluster.node('worker-0')]
  const load = scene.chatting.keepTalking()
  await enough(load.said, 10)

  const told = cut.map(({ redis }) => redis?.passedBytes ?? 0)
  for (const node of cut) node.redis?.cut()
  await enough(load.said, 20)
  for (const node of cut) node.redis?.heal()
  for (const { redis } of cut) await enough(() => redis?.passedBytes ?? 0, leastBytes)
  await enough(load.said, 20)
  await load.stop()
  const history = await scene.conclude()

  t.ok(told.every((bytes) => bytes > leastBytes), `both had told and heard by Redis: ${told.join(', ')} bytes`)
  t.same(statusesOf(history), ['completed'])
  t.ok(history.clients.every(({ connections }) => connections.length === 1), 'no connection is lost')
})

t.test('a network cut between a worker and Postgres, past its lease: its runs go on elsewhere, and it works again when it heals', needsServers, async (t) => {
  const scene = await openScene(t, { env: shortLease, users: ['alice', 'bob'] })
  const { cluster: { world }, cluster, chatting } = scene
  const [alice] = chatting.talkers
  if (alice === undefined) return
  const { marker, content } = alice.next({ tool: true })
  world.hold(marker, 'tool')
  const run = await alice.clients[0].say(content)
  const worker = cluster.node(await world.arrival(marker, 'tool'))
  const load = chatting.keepTalking({ pauseMs: 20 })

  worker.postgres.cut()
  const other = await world.arrival(marker, 'tool')
  t.not(other, worker.name, 'another worker goes on')
  world.release(marker, 'tool')
  for (const client of alice.clients) await client.toldEnd(run)
  await enough(load.said, 10)
  worker.postgres.heal()
  await enough(load.said, 10)
  await load.stop()
  await cluster.node(other).process.end('SIGTERM')
  await Promise.all(alice.clients.map(async (client) => await client.toldEnd(await alice.say())))
  const history = await scene.conclude()

  t.same(statusesOf(history), ['completed'])
  t.ok(worker.process.running, 'the one that was cut off lives')
})

t.test('a network cut between a gateway and Postgres: its clients are served by the other one, and by it again when it heals', needsServers, async (t) => {
  const scene = await openScene(t)
  const load = scene.chatting.keepTalking()
  await enough(load.said, 10)

  scene.cluster.node('gateway-0').postgres.cut()
  // Who is told nothing there, because an event has to be read from the log, waits until it heals: a socket stays. Who asks for something goes.
  await Promise.race([enough(load.said, 20).catch(() => undefined), sleep(cutMs)])
  scene.cluster.node('gateway-0').postgres.heal()
  await enough(load.said, 20)
  const away = scene.chatting.talkers.flatMap(({ clients }) => clients).find(({ node }) => node === 'gateway-1')
  for (let times = 0; times < 100 && away !== undefined && away.node !== 'gateway-0'; times += 1) { // any gateway may be its next one
    away.drop()
    await away.ready()
  }
  await enough(load.said, 10)
  await load.stop()
  const history = await scene.conclude()

  t.same(statusesOf(history), ['completed'])
  const visited = history.clients.map(({ connections }) => connections.map(({ node }) => node).join())
  t.ok(visited.some((nodes) => nodes.includes('gateway-0,gateway-1')), 'somebody has gone to the other one')
  t.ok(visited.some((nodes) => nodes.includes('gateway-1,gateway-0')), 'and somebody has come back')
})
