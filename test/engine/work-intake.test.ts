import t from 'tap'
import { WorkIntake, type WorkIntakeOptions } from '../../lib/engine/work-intake.ts'
import type { EventBus, Receive, Topic } from '../../lib/events/event-bus.ts'
import type { ClaimableThread } from '../../lib/stores/queue-store.ts'
import { createArrivals } from '../support/arrivals.ts'
import { newRun } from '../support/identities.ts'
import { createSilentLogger } from '../support/silent-logger.ts'

interface Stage {
  readonly intake: WorkIntake
  readonly closing: AbortController
  /** What the queue was asked for. */
  readonly questions: ReturnType<typeof createArrivals<{ readonly limit: number }>>
  readonly launched: readonly ClaimableThread[]
  /** Topics of what was told to other nodes. */
  readonly told: readonly Topic[]
  /** Says, as another node would, that work waits. */
  readonly say: () => void
}

function createStage (changes: Partial<WorkIntakeOptions> = {}, waiting: readonly ClaimableThread[] = []): Stage {
  const questions = createArrivals<{ readonly limit: number }>()
  const launched: ClaimableThread[] = []
  const told: Topic[] = []
  const hearing = new Set<Receive>()
  const bus: Pick<EventBus, 'publish' | 'subscribe'> = {
    publish: (topic) => { told.push(topic) },
    subscribe (_topic, receive) {
      hearing.add(receive)
      return () => { hearing.delete(receive) }
    }
  }
  const closing = new AbortController()
  const intake = new WorkIntake({
    queue: {
      async claimable ({ limit }) {
        questions.push({ limit })
        return waiting
      }
    },
    bus,
    executes: true,
    hasPeers: true,
    freeSlots: () => 3,
    working: () => 0,
    pollIntervalMs: 60_000,
    closing: closing.signal,
    launch: (thread) => { launched.push(thread) },
    logger: createSilentLogger(),
    ...changes
  })
  return {
    intake, closing, questions, launched, told,
    say () { for (const receive of hearing) receive({ kind: 'message', name: 'work', body: {} }, 'another') }
  }
}

t.test('when another node says that work waits, as much is taken as there is room for', async (t) => {
  const waiting = [newRun('alice'), newRun('bob')]
  const { intake, questions, launched, say } = createStage({}, waiting)

  say()
  const { limit } = await questions.next()
  await intake.close()

  t.equal(limit, 3)
  t.same(launched, waiting)
})

// kill: `courtesyMs` in lib/engine/work-intake.ts is 0 whatever this worker has to do.
t.test('of workers that hear of the same run, the one with less to do looks first, whichever heard first', async (t) => {
  const asked = createArrivals<string>()
  const queueOf = (name: string): WorkIntakeOptions['queue'] => ({
    async claimable () {
      asked.push(name)
      return []
    }
  })
  const busy = createStage({ queue: queueOf('busy'), working: () => 12 })
  const idle = createStage({ queue: queueOf('idle') })

  for (const worker of [busy, busy, idle]) worker.say()
  const order = [await asked.next(), await asked.next()]
  await Promise.all([busy, idle].map(async ({ intake }) => { await intake.close() }))

  t.same(order, ['idle', 'busy'])
  t.same(asked.waiting, [], 'it looks once for all that it has heard')
})

t.test('what is left to others is announced, and a gateway does not look for it itself', async (t) => {
  const { intake, questions, told, say } = createStage({ executes: false })

  intake.leave()
  say()
  await intake.close()

  t.same(told, [{ kind: 'work' }])
  t.same(questions.waiting, [])
})

t.test('a process that nobody shares the queue with lets runs wait here for a slot, one with peers leaves them', async (t) => {
  const alone = createStage({ hasPeers: false, freeSlots: () => 0 })
  const shared = createStage({ freeSlots: () => 0 })

  t.equal(alone.intake.hasRoom(), true)
  t.equal(shared.intake.hasRoom(), false)
  await Promise.all([alone.intake.close(), shared.intake.close()])
})

t.test('once it closes it hears of no work any more, and tells others of what its threads leave', async (t) => {
  // kill: no `closing.addEventListener` in lib/engine/work-intake.ts, or no `announce` in its `freed`
  const { intake, closing, questions, told, say } = createStage()

  closing.abort()
  say()
  intake.freed()
  await intake.close()

  t.same(questions.waiting, [])
  t.same(told, [{ kind: 'work' }])
})
