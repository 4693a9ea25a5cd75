import { PassThrough } from 'node:stream'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { createRunIdentity } from '../../lib/context/identity.ts'
import bus from '../../plugins/bus.ts'
import config from '../../plugins/config.ts'
import eventLog from '../../plugins/event-log.ts'
import node from '../../plugins/node.ts'
import redis from '../../plugins/redis.ts'
import signing from '../../plugins/signing.ts'
import storage from '../../plugins/storage.ts'
import { until } from '../events/bus-contract.ts'
import { startRedisServer } from '../support/redis-server.ts'
import { as, deltaOf, newcomer, runningRun } from '../support/storage-databases.ts'
import { createThrowawayDatabase } from '../support/throwaway-database.ts'

const skip = process.env['TEST_DATABASE_URL'] === undefined || process.env['TEST_REDIS_URL'] === undefined ? 'needs TEST_DATABASE_URL and TEST_REDIS_URL' : false

interface Node { readonly app: FastifyInstance, readonly lines: readonly string[] }

/** What nodes tell each other with, and nothing above it. Two of them on one database. */
async function twoNodes (t: Test, redisUrl: string): Promise<readonly [Node, Node]> {
  const database = await createThrowawayDatabase()
  if (database === undefined) throw new Error('TEST_DATABASE_URL is not set')
  t.teardown(async () => { await database.drop() })
  const open = async (): Promise<Node> => {
    const lines: string[] = []
    const stream = new PassThrough().on('data', (line) => { lines.push(String(line)) })
    const app = Fastify({ logger: { stream }, pluginTimeout: 120_000 })
    t.teardown(async () => { await app.close() })
    await app.register(config, { env: { DATABASE_URL: database.url, REDIS_URL: redisUrl, SIGNING_KEYS: 'a key that is as long as a key has to be' } })
    for (const plugin of [node, storage, signing, redis, bus, eventLog]) await app.register(plugin)
    await app.ready()
    return { app, lines }
  }
  const first = await open()
  return [first, await open()]
}

/** Appends on one node, and resolves when a follower on the other has been told. */
async function told (one: Node, other: Node, count = 3): Promise<readonly number[]> {
  const user = newcomer('alice')
  const run = await runningRun(one.app.storage, user)
  const identity = createRunIdentity({ userId: run.userId, threadId: run.threadId, runId: run.runId })
  const seen: number[] = []
  const leave = as(identity, () => other.app.eventLog.follow(run.threadId, ({ sequence }) => { seen.push(sequence) }))
  as(identity, () => { other.app.eventLog.stand(run.threadId, 0) })
  for (let index = 0; index < count; index += 1) {
    const { event, attempt } = deltaOf(run)
    await as(identity, async () => await one.app.eventLog.append(event, attempt))
  }
  await until(() => seen.length >= count)
  leave()
  return seen
}

const linesOf = ({ lines }: Node, text: string): number => lines.filter((line) => line.includes(text)).length

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
