import { setTimeout as delay } from 'node:timers/promises'
import fc from 'fast-check'
import t from 'tap'
import { enterThread } from '../../lib/context/current-thread.ts'
import type { Identity } from '../../lib/context/identity.ts'
import type { EventBus, Hint, Receive, Topic } from '../../lib/events/event-bus.ts'
import type { EventLog } from '../../lib/events/event-log.ts'
import { createInProcessHub } from '../../lib/events/in-process-bus.ts'
import { createStoredEventLog } from '../../lib/events/stored-event-log.ts'
import { newRequestId } from '../../lib/protocol/ids.ts'
import { createRunIdentity } from '../../lib/context/identity.ts'
import type { RunRecord } from '../../lib/stores/run-record.ts'
import type { Storage } from '../../lib/stores/storage.ts'
import { holdsInTime } from '../support/holds-in-time.ts'
import { createSilentLogger } from '../support/silent-logger.ts'
import { as, deltaOf, newcomer, onEachDatabase, runningRun } from '../support/storage-databases.ts'
import { within } from '../support/within.ts'

/** One thing that happens. `node`: 0 or 1; `thread`: one of three; `fate`: what becomes of the hints from here on. */
type Step =
  | { readonly kind: 'append', readonly node: number, readonly thread: number, readonly count: number }
  | { readonly kind: 'follow' | 'leave', readonly node: number, readonly thread: number }
  | { readonly kind: 'fate', readonly fate: Fate }
  | { readonly kind: 'wait', readonly ms: number }
  | { readonly kind: 'settle' }

type Fate = 'kept' | 'lost' | 'doubled' | 'delayed' | 'bare'

const steps: fc.Arbitrary<readonly Step[]> = fc.array(fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('append' as const), node: fc.nat(1), thread: fc.nat(2), count: fc.integer({ min: 1, max: 5 }) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom('follow' as const, 'leave' as const), node: fc.nat(1), thread: fc.nat(2) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('fate' as const), fate: fc.constantFrom<Fate>('kept', 'lost', 'doubled', 'delayed', 'bare') }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.nat(12) }) },
  { weight: 3, arbitrary: fc.constant({ kind: 'settle' as const }) }
), { minLength: 5, maxLength: 40 })

const seed = Number(process.env['SEED'] ?? Math.trunc(Math.random() * 2 ** 31))
const numRuns = Number(process.env['RUNS'] ?? 25)

/** A bus that treats its hints badly: what is delayed comes behind what was told later. */
function unreliable (bus: EventBus, fate: () => Fate): EventBus {
  const hearing = (receive: Receive): Receive => (signal, from) => {
    if (signal.kind !== 'events' || fate() === 'kept') return receive(signal, from)
    if (fate() === 'lost') return
    const bare: Hint = { kind: 'events', sequence: signal.sequence }
    if (fate() === 'bare') return receive(bare, from)
    setTimeout(() => { receive(signal, from) }, Math.random() * 15)
    if (fate() === 'doubled') receive(signal, from)
  }
  return Object.create(bus, { subscribe: { value: (topic: Topic, receive: Receive) => bus.subscribe(topic, hearing(receive)) } }) as EventBus
}

/** Somebody in a thread, as the gateway is: what comes before the position was read is held back, and what is missing at its beginning is read. */
class Reader {
  readonly seen: number[] = []
  readonly #log: EventLog
  readonly #run: RunRecord
  readonly #leave: () => void
  #from: number | undefined
  #held: number[] = []
  #isOpen = true

  constructor (log: EventLog, run: RunRecord) {
    this.#log = log
    this.#run = run
    this.#leave = log.follow(run.threadId, ({ sequence }) => {
      if (this.#from === undefined) this.#held.push(sequence)
      else this.#take(sequence)
    })
  }

  get from (): number { return this.#from ?? 0 }
  get last (): number { return this.seen.at(-1) ?? this.from }

  async stand (storage: Storage): Promise<void> {
    const { sequence } = await storage.threads.state(this.#run.threadId)
    if (!this.#isOpen) return
    this.#log.stand(this.#run.threadId, sequence)
    this.#from = sequence
    for (const held of this.#held) if (held > sequence) this.#take(held)
  }

  leave (): void {
    this.#isOpen = false
    this.#leave()
  }

  // The first event after the position may stand behind a gap, which whoever reads fills from the log. After it nothing is missing, doubled or out of place.
  #take (sequence: number): void {
    if (this.seen.length === 0 && sequence <= this.from) return
    if (this.seen.length === 0) for (let missing = this.from + 1; missing < sequence; missing += 1) this.seen.push(missing)
    this.seen.push(sequence)
  }
}

// kill: the comparison in `take` of lib/events/cursor.ts; the poll; the reading of missed events.
onEachDatabase(t, async (t, { storage }) => {
  t.test(`a follower sees every event once and in order, whatever becomes of the hints (SEED=${seed})`, async (t) => {
    await holdsInTime(t, fc.asyncProperty(steps, async (story) => { await play(story, storage) }), {
      seed, numRuns, interruptAfterTimeLimit: 60_000, endOnFailure: true
    })
  })
})

async function play (story: readonly Step[], storage: Storage): Promise<void> {
  const user = newcomer('alice')
  const runs = await Promise.all([1, 2, 3].map(async () => await runningRun(storage, user)))
  const hub = createInProcessHub()
  let fate: Fate = 'kept'
  const logs = ['one', 'two'].map((node) => createStoredEventLog({
    store: storage.events,
    epoch: storage.epoch,
    logger: createSilentLogger(),
    peers: { bus: unreliable(hub.node(node), () => fate), pollIntervalMs: 25, doubtfulPollIntervalMs: 10 }
  }))
  const readers = new Map<string, Reader>()
  const all: { readonly reader: Reader, readonly run: RunRecord }[] = []
  const appends: Promise<unknown>[] = []
  const standing: Promise<void>[] = []
  const chosen = (node: number, thread: number) => ({ log: nth(logs, node), run: nth(runs, thread), key: `${node} ${thread}` })

  for (const step of story) {
    if (step.kind === 'fate') fate = step.fate
    else if (step.kind === 'wait') await delay(step.ms)
    else if (step.kind === 'settle') await Promise.all([...appends, ...standing])
    else {
      const { log, run, key } = chosen(step.node, step.thread)
      if (step.kind === 'append') {
        for (let index = 0; index < step.count; index += 1) appends.push(append(log, run))
        await Promise.resolve()
      } else if (step.kind === 'leave') {
        readers.get(key)?.leave()
        readers.delete(key)
      } else if (!readers.has(key)) {
        const reader = as(inThread(user, run), () => new Reader(log, run))
        readers.set(key, reader)
        all.push({ reader, run })
        standing.push(as(inThread(user, run), () => reader.stand(storage)))
      }
    }
  }

  try {
    await Promise.all([...appends, ...standing])
    const ends = await storage.events.positions(runs.map(({ userId, threadId }) => ({ userId, threadId })))
    await within(() => `the last events: ${[...readers].map(([key, { last }]) => `${key} at ${last}`).join(', ')} of ${[...ends.values()].map(({ sequence }) => sequence).join(', ')}`,
      untilAll([...readers].map(([key, reader]) => () => reader.last >= (ends.get(nth(runs, Number(key.at(-1))).threadId)?.sequence ?? 0))), 5_000)
    await delay(20) // what is delayed comes, and is heard for nothing
    for (const { reader } of all) {
      const expected = Array.from({ length: reader.seen.length }, (_sequence, index) => reader.from + 1 + index)
      if (expected.join() !== reader.seen.join()) throw new Error(`seen after ${reader.from}: ${reader.seen.join()}`)
    }
  } finally {
    for (const reader of readers.values()) reader.leave()
    await Promise.all(logs.map(async (log) => { await log.close() }))
  }
}

async function untilAll (conditions: readonly (() => boolean)[]): Promise<void> {
  const endsAt = Date.now() + 6_000
  while (!conditions.every((isSo) => isSo()) && Date.now() < endsAt) await delay(5)
}

const inThread = (user: Identity, { threadId, runId }: RunRecord): Identity => createRunIdentity({ userId: user.userId, threadId, runId, requestId: newRequestId() })

async function append (log: EventLog, run: RunRecord): Promise<unknown> {
  const { event, attempt } = deltaOf(run)
  return await enterThread(createRunIdentity({ userId: run.userId, threadId: run.threadId, runId: run.runId }), async () => await log.append(event, attempt))
}

function nth<T> (list: readonly T[], index: number): T {
  const item = list[index]
  if (item === undefined) throw new Error(`There is no ${index}`)
  return item
}

