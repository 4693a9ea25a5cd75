import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import type { UserId } from '../../lib/protocol/ids.ts'
import type { SentFrames } from '../../lib/stores/limit-store.ts'
import { newcomer, onEachDatabase } from '../support/storage-databases.ts'

const minute = { limit: 10, windowMs: 60_000 }
const framesOf = (userId: UserId, count: number): SentFrames => ({ userId, count })

onEachDatabase(t, async (t, { storage, another, ask, askAs }) => {
  const { limits, upkeep } = storage

  t.test('a user may send as much as the limit says, whatever others send and however it is asked', async (t) => {
    // kill: leave `w.user_id` out of the conflict, or the sum out of `admit_messages`, in lib/storage/migrations/0010-shared-state.ts
    const [alice, bob] = [newcomer().userId, newcomer().userId]

    t.same(await limits.admit([framesOf(alice, 6), framesOf(bob, 10), framesOf(alice, 4), framesOf(alice, 1)], minute), [true, true, true, false])
    t.same(await limits.admit([framesOf(bob, 1), framesOf(alice, 1), framesOf(newcomer().userId, 11)], minute), [false, false, false])
    t.same(await limits.admit([], minute), [])
  })

  t.test('what was refused is not counted', async (t) => {
    const alice = newcomer().userId

    t.same(await limits.admit([framesOf(alice, 11), framesOf(alice, 9), framesOf(alice, 2), framesOf(alice, 1)], minute), [false, true, false, true])
  })

  t.test('windows of different length are counted apart', async (t) => {
    const alice = newcomer().userId

    t.same(await limits.admit([framesOf(alice, 10)], minute), [true])
    t.same(await limits.admit([framesOf(alice, 3), framesOf(alice, 1)], { limit: 3, windowMs: 1_000 }), [true, false])
  })

  t.test('of nodes that ask at once for the same users in any order, all together get no more than the limit', async (t) => {
    // kill: take the users in the order given, or count in two statements, in `admit_messages`
    const users = Array.from({ length: 12 }, () => newcomer().userId)
    const nodes = await Promise.all(Array.from({ length: 4 }, async () => await another(t)))

    const admitted = await Promise.all(nodes.flatMap((node, index) => Array.from({ length: 8 }, async () => {
      const asked = index % 2 === 0 ? users : users.toReversed()
      const answers = await node.limits.admit(asked.map((user) => framesOf(user, 1)), minute)
      return asked.filter((_, place) => answers[place] === true)
    })))

    for (const user of users) t.equal(admitted.flat().filter((one) => one === user).length, 10)
  })

  t.test('in no span of the length of the window is there more than the limit, and room comes back', async (t) => {
    // kill: cover ten parts only (`[1:10]` in `slide`, lib/storage/migrations/0010-shared-state.ts)
    const alice = newcomer().userId
    const window = { limit: 4, windowMs: 400 }
    const sent: { readonly before: number, readonly after: number }[] = []
    const end = performance.now() + 2_500

    while (performance.now() < end) {
      const before = performance.now()
      const [admitted] = await limits.admit([framesOf(alice, 1)], window)
      if (admitted === true) sent.push({ before, after: performance.now() })
      await delay(7)
    }

    for (const [index, { before }] of sent.entries()) {
      const fourLater = sent[index + window.limit]
      if (fourLater !== undefined) t.ok(fourLater.after - before >= window.windowMs, `${index}: ${fourLater.after - before}`)
    }
    t.ok(sent.length >= 4 * 4, `${sent.length}: at most a tenth of a window late`)
  })

  t.test('windows in which nothing counts any more are swept', async (t) => {
    const [alice, bob] = [newcomer().userId, newcomer().userId]
    await limits.admit([framesOf(alice, 1)], { limit: 3, windowMs: 1 })
    await limits.admit([framesOf(bob, 1)], minute)
    const rowsOf = async (user: UserId) => (await askAs('threadline_system', undefined, `select 1 from threadline.message_windows where user_id = '${user}'`)).length
    await ask(`begin; set local role threadline_system;
      update threadline.message_windows set over_at = now() - interval '1 second' where user_id = '${alice}'; commit`)

    await upkeep.purge({ deletedBefore: new Date(0), limit: 1 })

    t.same([await rowsOf(alice), await rowsOf(bob)], [0, 1])
  })

  t.test('what is counted is not written to the log of the database', async (t) => {
    const [table] = await ask<{ relpersistence: string }>("select relpersistence from pg_class where oid = 'threadline.message_windows'::regclass")

    t.equal(table?.relpersistence, 'u')
  })
})
