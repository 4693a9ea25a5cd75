import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { RedisConnection } from '../../lib/events/redis-connection.ts'
import { MessageWindow } from '../../lib/gateway/message-window.ts'
import { SharedWindow, type ScriptRunner } from '../../lib/gateway/shared-window.ts'
import { reservedUserPrefix, toUserId } from '../../lib/protocol/ids.ts'
import type { LimitStore } from '../../lib/stores/limit-store.ts'
import { createSilentLogger } from '../support/silent-logger.ts'
import { within } from '../support/within.ts'

const [alice, bob] = [toUserId('alice'), toUserId('bob')]
const [limit, windowMs] = [4, 60_000]

/** A window that all nodes ask, as the database has one; `asked` are the sizes of the groups in which it was. */
function createStore (admit?: LimitStore['admit']): LimitStore & { readonly asked: number[] } {
  const window = new MessageWindow({ limit, windowMs })
  const asked: number[] = []
  return {
    asked,
    async admit (frames, of) {
      asked.push(frames.length)
      return admit === undefined ? frames.map(({ userId }) => window.admit(userId)) : await admit(frames, of)
    }
  }
}

function startNode (store: LimitStore, redis?: ScriptRunner) {
  const logger = createSilentLogger()
  const local = new MessageWindow({ limit, windowMs })
  return { window: new SharedWindow({ local, limit, windowMs, store, redis, logger, service: 'test', answerMs: 100 }), local, logger }
}

const admitAll = async (window: SharedWindow, users: readonly (typeof alice)[]): Promise<readonly boolean[]> =>
  await Promise.all(users.map(async (user) => await window.admit(user)))

// kill: `admit` of lib/gateway/shared-window.ts answers true where it asks the others.
t.test('frames of a user are counted over all nodes, another user\'s are not', async (t) => {
  const store = createStore()
  const [a, b] = [startNode(store), startNode(store)]

  t.same(await admitAll(a.window, [alice, alice, alice]), [true, true, true])
  t.same(await admitAll(b.window, [alice, alice, bob]), [true, false, true])
  t.same(await admitAll(a.window, [alice, bob]), [false, true])

  t.same(store.asked, [3, 3, 2], 'what comes together is asked in one statement')
})

t.test('what is too many for this node alone is refused without asking anybody, and at once', async (t) => {
  const store = createStore()
  const { window } = startNode(store)
  await admitAll(window, [alice, alice, alice, alice])
  const asked = store.asked.length

  t.equal(window.admit(alice), false)
  t.equal(store.asked.length, asked)
})

t.test('what was refused elsewhere is not counted here', async (t) => {
  let full = true
  const { window } = startNode(createStore(async (frames) => frames.map(() => !full)))

  t.same(await admitAll(window, [alice, alice, alice, alice, alice, alice]), [false, false, false, false, false, false])
  full = false
  t.same(await admitAll(window, [alice, alice, alice, alice, alice]), [true, true, true, true, false])
})

t.test('Redis counts while it is up, the database when it is not or fails, and what neither answers is counted here alone', async (t) => {
  const store = createStore()
  let isUp = true
  let answer = async (): Promise<unknown> => 1
  const asked: string[] = []
  const redis: ScriptRunner = {
    get up () { return isUp },
    async eval (_script, keys) {
      asked.push(...keys)
      return await answer()
    }
  }
  const { window, logger } = startNode(store, redis)

  t.same(await admitAll(window, [alice, alice]), [true, true])
  t.same([asked.length, store.asked], [2, []])
  t.ok(asked.every((key) => key.startsWith('threadline:window:{') && !key.includes('alice')), 'who it is is not told')
  answer = async () => 0
  t.equal(await window.admit(alice), false)
  answer = async () => { throw new Error('it is gone') }
  t.equal(await window.admit(alice), true)
  t.same(store.asked, [1])
  isUp = false
  t.equal(await window.admit(alice), true)
  t.same([asked.length, store.asked], [4, [1, 1]])
  t.equal(await window.admit(alice), false, 'here it is the fifth')
  t.match(logger.lines, [{ level: 'warn' }])
})

t.test('a storage that fails, or does not answer in time, is not asked again for a moment, and the window of this node holds', async (t) => {
  const ways: readonly LimitStore['admit'][] = [async () => { throw new Error('it is away') }, async () => await new Promise(() => {})]
  for (const admit of ways) {
    const store = createStore(admit)
    const { window } = startNode(store)

    t.equal(await window.admit(alice), true)
    t.same(store.asked, [1])
    t.same([window.admit(alice), window.admit(alice), window.admit(alice), window.admit(alice)], [true, true, true, false])
    t.same(store.asked, [1])
  }
})

// kill: the question whether it is failing already in `#failed`.
t.test('that the others cannot be asked is said when it begins and when it is over, however many frames there are', async (t) => {
  let isFull = true
  const redis: ScriptRunner = {
    up: true,
    async eval () {
      if (isFull) throw new Error('OOM command not allowed')
      return 1
    }
  }
  const { window, logger } = startNode(createStore(), redis)

  for (const user of ['a', 'b', 'c', 'd']) await window.admit(toUserId(user))
  t.match(logger.lines, [{ level: 'warn', message: /cannot be counted in Redis.* the database/ }])
  t.equal(logger.lines.length, 1)
  isFull = false
  for (const user of ['a', 'b', 'c', 'd']) await window.admit(toUserId(user))
  t.same(logger.lines.slice(1).map(({ level, message }) => [level, message]), [['info', 'Messages are counted in Redis again']])
})

t.test('users of the service itself are not counted', async (t) => {
  const store = createStore()
  const { window } = startNode(store)

  t.same(Array.from({ length: 10 }, () => window.admit(toUserId(`${reservedUserPrefix}a`))), Array.from({ length: 10 }, () => true))
  t.same(store.asked, [])
})

const redisUrl = process.env['TEST_REDIS_URL']

// kill: the script counts what it refuses, or removes nothing that is over.
t.test('in Redis the window slides, for each user alone, and a refused frame is not counted', { skip: redisUrl === undefined && 'it needs the server of TEST_REDIS_URL' }, async (t) => {
  const redis = new RedisConnection({ url: redisUrl ?? '', logger: createSilentLogger() })
  t.teardown(async () => { await redis.close() })
  await within('Redis to be up', (async () => { while (!redis.up) await delay(5) })())
  const users = [toUserId(`one-${randomUUID()}`), toUserId(`other-${randomUUID()}`)] as const
  const slidingMs = 4_000
  const store = createStore(async () => { throw new Error('Redis was not asked') })
  const start = (service: string) => new SharedWindow({ local: new MessageWindow({ limit: 100, windowMs: slidingMs }), limit: 3, windowMs: slidingMs, store, redis, logger: createSilentLogger(), service })
  const [a, b, stranger] = [start('one'), start('one'), start('another')]
  const admit = async (window: SharedWindow, count: number, user: typeof alice): Promise<readonly boolean[]> => await admitAll(window, Array.from({ length: count }, () => user))

  t.same(await admit(a, 1, users[0]), [true])
  await delay(slidingMs / 2) // by the clock of Redis, which nobody else can move
  t.same(await admit(b, 3, users[0]), [true, true, false])
  t.same(await admit(b, 4, users[1]), [true, true, true, false])
  t.same(await admit(stranger, 3, users[0]), [true, true, true], 'another service on the same Redis has its own')
  await delay(slidingMs / 2 + 20)
  t.same(await admit(a, 2, users[0]), [true, false], 'one has left, not all')
  t.same(store.asked, [])
})
