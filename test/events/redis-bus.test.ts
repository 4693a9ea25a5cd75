import { randomBytes } from 'node:crypto'
import { Redis } from 'ioredis'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { createSigner, type Signer } from '../../lib/context/signature.ts'
import { createEnvelopes, encodePost } from '../../lib/events/envelope.ts'
import type { EventBus } from '../../lib/events/event-bus.ts'
import { channelOf, createRedisBus } from '../../lib/events/redis-bus.ts'
import { RedisConnection } from '../../lib/events/redis-connection.ts'
import { watchCounters } from '../support/counters.ts'
import { startRedisServer } from '../support/redis-server.ts'
import { createSilentLogger } from '../support/silent-logger.ts'
import { holdBusContract, sumOf, threadTopic, until, type BusStage } from './bus-contract.ts'

const server = process.env['TEST_REDIS_URL']
const skip = server === undefined ? 'needs TEST_REDIS_URL' : false

t.test('a bus over Redis', { skip }, async (t) => {
  holdBusContract(t, async (t) => {
    const { url, ask, user } = await ownUser(t)
    return stageOf(url, { say: async (channel, text) => { await ask.spublish(channel, text) }, interrupt: async () => { await ask.client('KILL', 'USER', user) } })
  })
})

t.test('a bus over a Redis cluster', { skip }, async (t) => {
  const cluster = await startRedisServer(t, { cluster: true, password: 'secret' })
  t.match(await cluster.ask('cluster', 'info'), /cluster_slots_assigned:16384/)

  holdBusContract(t, () => stageOf(cluster.url, {
    say: async (channel, text) => { await cluster.ask('spublish', channel, text) },
    interrupt: async () => { await cluster.ask('client', 'kill', 'type', 'pubsub') }
  }))
})

// kill: hear of lib/events/bus-end.ts does not ask whether the topic may come on this way.
t.test('what was said on the channel of one thread is not heard on that of another', { skip }, async (t) => {
  const server = await startRedisServer(t)
  const counts = watchCounters(t)
  const signer = createSigner([randomBytes(32)])
  const bus = openRedisBus(server.url, 'two', signer)
  t.teardown(async () => { await bus.close() })
  await until(() => !bus.doubtful)
  const [topic, other] = [threadTopic('alice'), threadTopic('bob')]
  let heard = 0
  for (const each of [topic, other]) bus.subscribe(each, () => { heard += 1 })
  const text = createEnvelopes('one', signer).seal([encodePost({ topic, signal: { kind: 'message', name: 'typing', body: null } })])

  await until(() => {
    server.ask('spublish', channelOf(service, other), text).catch(() => undefined) // the last of them may find it gone
    return sumOf(counts, { outcome: 'mismatched' }) > 0 || heard > 0
  }, 100)

  t.equal(heard, 0)
})

// kill: leave `service` out of the channel of the work in channelOf of lib/events/redis-bus.ts
t.test('services that share a Redis hear nothing of each other, and take each other for nobody\'s forgery', { skip }, async (t) => {
  const counts = watchCounters(t)
  const [own, foreign] = [createSigner([randomBytes(32)]), createSigner([randomBytes(32)])]
  const listening = openRedisBus(server ?? '', 'listening', own)
  const sibling = openRedisBus(server ?? '', 'sibling', own)
  const stranger = openRedisBus(server ?? '', 'stranger', foreign, 'another')
  t.teardown(async () => { await Promise.all([listening, sibling, stranger].map(async (bus) => { await bus.close() })) })
  await until(() => ![listening, sibling, stranger].some(({ doubtful }) => doubtful))
  const heard: string[] = []
  listening.subscribe({ kind: 'work' }, (_signal, from) => { heard.push(from) })

  await until(() => {
    stranger.publish({ kind: 'work' }, { kind: 'message', name: 'queued', body: null })
    sibling.publish({ kind: 'work' }, { kind: 'message', name: 'queued', body: null })
    return heard.length > 3
  }, 20)

  t.same([...new Set(heard)], ['sibling'])
  t.equal(sumOf(counts, { outcome: 'untrusted' }), 0)
})

t.test('what is asked of Redis beside the bus', { skip }, async (t) => {
  const redis = await startRedisServer(t)
  const connection = new RedisConnection({ url: redis.url, logger: createSilentLogger() })
  t.teardown(async () => { await connection.close() })
  const script = "return redis.call('incrby', KEYS[1], ARGV[1])"
  await t.rejects(connection.eval(script, ['{a}'], ['1']), { code: 'THREADLINE_STORAGE_UNAVAILABLE' }, 'it is not there yet')
  await until(() => connection.up)

  t.equal(await connection.eval(script, ['{a}'], ['2']), 2)
  t.equal(await connection.eval(script, ['{a}'], ['3']), 5)
  await t.rejects(connection.eval('return redis.call("nonsense")', [], []), /nonsense|Unknown/i)

  await redis.ask('client', 'pause', '1000', 'all')
  const started = performance.now()
  await t.rejects(connection.eval(script, ['{a}'], ['0']), { code: 'THREADLINE_STORAGE_UNAVAILABLE' })
  t.ok(performance.now() - started < 900, 'it is not waited for')
  await redis.kill()
  await until(() => !connection.up)
  await t.rejects(connection.eval(script, ['{a}'], ['1']), { code: 'THREADLINE_STORAGE_UNAVAILABLE' })
  await redis.start()
  await until(() => connection.up)
  t.equal(await connection.eval(script, ['{a}'], ['1']), 1, 'it knew nothing of the script any more')
})

// kill: `Date.now()` instead of `performance.now()` in lib/events/redis-connection.ts
t.test('a Redis that has fallen silent is known to be so, also when the clock of this machine was set back', { skip }, async (t) => {
  const redis = await startRedisServer(t)
  const connection = new RedisConnection({ url: redis.url, logger: createSilentLogger(), heartbeatMs: 50, overdueMs: 200 })
  t.teardown(async () => { await connection.close() })
  await until(() => connection.up)
  const { now } = Date
  t.teardown(() => { Date.now = now })

  Date.now = () => now() - 3_600_000
  await redis.ask('client', 'pause', '60000', 'all')
  await until(() => !connection.up)

  t.notOk(connection.up)
})

// kill: let `withoutCommand` of lib/events/redis-link.ts give back the error as it is, or let `redisOptionsOf` make its URL by `new`.
t.test('why Redis cannot be used is logged without its password', { skip }, async (t) => {
  const { port } = await startRedisServer(t, { password: 'secret' })
  const urls = [`redis://:not-for-a-log@127.0.0.1:${port}`, `redis://someone:not-for-a-log@127.0.0.1:${port}`, 'redis://:not-for-a-log@127.0.0.1:none']
  for (const url of urls) {
    const lines: string[] = []
    const connection = new RedisConnection({ url, logger: pino({}, { write: (line: string) => { lines.push(line) } }) })
    t.teardown(async () => { await connection.close() })
    await until(() => lines.length > 0)

    t.match(lines.join(''), /WRONGPASS|no URL/)
    t.notMatch(lines.join(''), /not-for-a-log/)
  }
})

/** A user of its own on the server, so that its connections can be ended and nobody else's. */
async function ownUser (t: Test) {
  const user = `threadline-test-${randomBytes(6).toString('hex')}`
  const ask = new Redis(server ?? '')
  await ask.acl('SETUSER', user, 'on', '>secret', 'allkeys', 'allchannels', '+@all')
  t.teardown(async () => {
    await ask.acl('DELUSER', user)
    ask.disconnect()
  })
  const url = new URL(server ?? '')
  url.username = user
  url.password = 'secret'
  return { url: url.href, ask, user }
}

const service = 'tested'

function stageOf (url: string, { say, interrupt }: { say: (channel: string, text: string) => Promise<void>, interrupt: () => Promise<void> }): BusStage {
  return {
    open: (node, signer) => openRedisBus(url, node, signer),
    say: async (topic, text) => { await say(channelOf(service, topic), text) },
    interrupt
  }
}

function openRedisBus (url: string, node: string, signer: Signer, named = service): EventBus {
  const logger = createSilentLogger()
  const connection = new RedisConnection({ url, logger })
  const bus = createRedisBus({ node, service: named, signer, logger, connection })
  // not spread: its properties change
  return Object.create(bus, { close: { value: async () => { await Promise.all([bus.close(), connection.close()]) } } }) as EventBus
}
