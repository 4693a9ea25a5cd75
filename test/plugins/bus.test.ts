import t, { type Test } from 'tap'
import { until } from '../events/bus-contract.ts'
import { linesOf, openBusNode, told, type BusNode } from '../support/bus-nodes.ts'
import { startRedisServer } from '../support/redis-server.ts'
import { createThrowawayDatabase } from '../support/throwaway-database.ts'

const skip = process.env['TEST_DATABASE_URL'] === undefined || process.env['TEST_REDIS_URL'] === undefined ? 'needs TEST_DATABASE_URL and TEST_REDIS_URL' : false

/** Two of them on one database. */
async function twoNodes (t: Test, redisUrl: string): Promise<readonly [BusNode, BusNode]> {
  const database = await createThrowawayDatabase()
  if (database === undefined) throw new Error('TEST_DATABASE_URL is not set')
  t.teardown(async () => { await database.drop() })
  const env = { DATABASE_URL: database.url, REDIS_URL: redisUrl }
  const first = await openBusNode(t, env)
  return [first, await openBusNode(t, env)]
}

t.test('a service whose Redis is away starts and works over the database, says so once, and takes Redis when it comes', { skip }, async (t) => {
  const server = await startRedisServer(t)
  await server.kill()
  const [one, other] = await twoNodes(t, server.url)

  t.equal(one.app.redis?.up, false)
  t.same(await told(one, other), [1, 2, 3])
  t.equal(one.app.bus.doubtful, true)
  await server.start()
  await until(() => !one.app.bus.doubtful && !other.app.bus.doubtful)

  t.equal(one.app.redis?.up, true)
  t.same(await told(one, other), [1, 2, 3])
  for (const each of [one, other]) t.same([linesOf(each, 'Redis is away'), linesOf(each, 'Redis is there again')], [1, 1])

  await server.kill()
  await until(() => one.app.bus.doubtful && other.app.bus.doubtful)
  t.same(await told(other, one), [1, 2, 3])
})

t.test('a wrong password of Redis is no reason not to work: it is said once, and the database does it', { skip }, async (t) => {
  const server = await startRedisServer(t, { password: 'right' })
  const [one, other] = await twoNodes(t, server.url.replace('right', 'wrong'))

  t.same(await told(one, other), [1, 2, 3])
  await until(() => linesOf(one, 'Redis is away') > 0)
  t.same(await told(other, one), [1, 2, 3])

  t.equal(one.app.redis?.up, false)
  t.equal(linesOf(one, 'Redis is away'), 1)
  t.match(one.lines.find((line) => line.includes('Redis is away')), /WRONGPASS/)
  t.notMatch(one.lines.join(''), /wrong@|:wrong/, 'without the password')
})
