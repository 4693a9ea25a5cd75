import t from 'tap'
import { enough } from '../support/cluster/enough.ts'
import { findRedis, startRedisServer } from '../support/cluster/redis-server.ts'
import { needsServers, openScene, statusesOf } from '../support/cluster/scene.ts'

t.setTimeout(280_000)

const needsRedis = findRedis() === undefined ? { skip: 'needs Redis' } : needsServers

/** More than it takes to say hello to Redis. */
const leastBytes = 2_000

for (const withData of [true, false]) {
  t.test(`kill -9 of Redis, which comes back ${withData ? 'with' : 'without'} its data: nobody notices but for the time`, needsRedis, async (t) => {
    const redis = await startRedisServer(t)
    const scene = await openScene(t, { redisUrl: redis.url })
    const load = scene.chatting.keepTalking()
    await enough(load.said, 10)

    const told = () => scene.cluster.nodes.map((node) => node.redis?.passedBytes ?? 0)
    await redis.kill()
    const before = told()
    await enough(load.said, 20)
    await redis.start({ withData })
    for (const { redis } of scene.cluster.nodes) await enough(() => redis?.passedBytes ?? 0, leastBytes)
    await enough(load.said, 20)
    await load.stop()
    const history = await scene.conclude()

    t.ok(before.every((bytes) => bytes > leastBytes), `the nodes had told each other by Redis: ${before.join(', ')} bytes`)
    t.same(statusesOf(history), ['completed'])
    t.same(scene.chatting.talkers.flatMap(({ clients }) => clients.flatMap(({ refusals }) => refusals)), [], 'no message is refused')
    t.ok(history.clients.every(({ connections }) => connections.length === 1), 'no connection is lost')
  })
}
