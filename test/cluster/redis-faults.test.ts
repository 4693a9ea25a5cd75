import t from 'tap'
import { findRedis, startRedisServer } from '../support/cluster/redis-server.ts'
import { needsServers, openScene, statusesOf } from '../support/cluster/scene.ts'
import { enough } from '../support/cluster/enough.ts'

t.setTimeout(280_000)

const needsRedis = findRedis() === undefined ? { skip: 'needs Redis' } : needsServers

for (const withData of [true, false]) {
  t.test(`kill -9 of Redis, which comes back ${withData ? 'with' : 'without'} its data: nobody notices but for the time`, needsRedis, async (t) => {
    const redis = await startRedisServer(t)
    const scene = await openScene(t, { redisUrl: redis.url })
    const load = scene.chatting.keepTalking()
    await enough(load.said, 10)

    await redis.kill()
    await enough(load.said, 20)
    await redis.start({ withData })
    await enough(load.said, 20)
    await load.stop()
    const history = await scene.conclude()

    t.same(statusesOf(history), ['completed'])
    t.same(scene.chatting.talkers.flatMap(({ clients }) => clients.flatMap(({ refusals }) => refusals)), [], 'no message is refused')
    t.ok(history.clients.every(({ connections }) => connections.length === 1), 'no connection is lost')
  })
}
