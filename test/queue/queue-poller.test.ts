import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { enterThread, tryCurrentIdentity } from '../../lib/context/current-thread.ts'
import { QueuePoller, type QueuePollerOptions, type Room } from '../../lib/queue/queue-poller.ts'
import type { ClaimableThread } from '../../lib/stores/queue-store.ts'
import { createArrivals } from '../support/arrivals.ts'
import { newRun } from '../support/identities.ts'
import { createSilentLogger } from '../support/silent-logger.ts'

interface Question { readonly limit: number, readonly waitedMs: number | undefined, readonly answer: (threads: readonly ClaimableThread[] | Error) => void }

function createPoller (changes: Partial<QueuePollerOptions> = {}) {
  const questions = createArrivals<Question>()
  const launched: ClaimableThread[] = []
  const room: { -readonly [Key in keyof Room]: number } = { free: 4, waiting: 8 }
  const names: unknown[] = []
  const poller = new QueuePoller({
    store: {
      async claimable ({ limit, waitedMs }) {
        names.push(tryCurrentIdentity())
        const answered = Promise.withResolvers<readonly ClaimableThread[] | Error>()
        questions.push({ limit, waitedMs, answer: answered.resolve })
        const answer = await answered.promise
        if (answer instanceof Error) throw answer
        return answer
      }
    },
    room: () => room,
    launch: (thread) => { launched.push(thread) },
    intervalMs: 20,
    patienceMs: 1_000,
    hasPeers: false,
    logger: createSilentLogger(),
    ...changes
  })
  return { poller, questions, launched, room, names }
}

const threads = (count: number): ClaimableThread[] => Array.from({ length: count }, () => newRun('alice'))
/** The poller's own timers keep no process alive. */
const awake = setInterval(() => {}, 1_000)
t.teardown(() => { clearInterval(awake) })

t.test('however often it is told while it asks, it asks once more, in nobody\'s name and for as much as there is room', async (t) => {
  const { poller, questions, launched, names } = createPoller()
  const found = threads(2)

  enterThread(newRun('alice'), () => { for (let told = 0; told < 50; told += 1) poller.look() })
  const first = await questions.next()
  for (let told = 0; told < 50; told += 1) poller.look()
  first.answer(found)
  const second = await questions.next()
  second.answer([])
  await turn()

  t.same([first.limit, first.waitedMs, second.limit], [4, undefined, 4])
  t.same(launched, found)
  t.same(questions.waiting, [])
  t.same(names, [undefined, undefined])
  await poller.close()
})

t.test('without room it takes only what has waited for long, as much as may wait here', async (t) => {
  // kill: no `waitedMs` in `#lookOnce` of lib/queue/queue-poller.ts
  const { poller, questions, room } = createPoller()
  room.free = 0

  poller.look()
  const question = await questions.next()

  t.same([question.limit, question.waitedMs], [8, 1_000])
  question.answer([])
  await poller.close()
})

t.test('what had no room takes the place of what ends', async (t) => {
  const { poller, questions, room } = createPoller({ intervalMs: 60_000 })
  room.free = -3
  poller.freed()
  poller.look()
  await turn()
  t.same(questions.waiting, [], 'nothing waited when it ended, and nothing has ended since')

  poller.freed()
  const question = await questions.next()

  t.same([question.limit, question.waitedMs], [1, undefined])
  question.answer([])
  await poller.close()
})

t.test('a question that fails is asked again after a while', async (t) => {
  const { poller, questions, launched } = createPoller()
  poller.look()

  const first = await questions.next()
  first.answer(new Error('away'))
  const second = await questions.next()
  second.answer(threads(1))
  await turn()

  t.equal(launched.length, 1)
  await poller.close()
})

t.test('with peers it asks from time to time, alone only while something waits, and closed never', async (t) => {
  const [among, alone] = [createPoller({ hasPeers: true }), createPoller()]
  among.poller.start()
  alone.poller.start()

  ;(await alone.questions.next()).answer([])
  for (let asked = 0; asked < 3; asked += 1) (await among.questions.next()).answer([])
  const last = await among.questions.next()
  const closing = among.poller.close()
  last.answer(threads(1))
  await closing
  among.poller.look()
  await turn()

  t.same(alone.questions.waiting, [])
  t.same(among.questions.waiting, [])
  t.same(among.launched, [], 'what was found after it was closed is left to others')
  await alone.poller.close()
})
