import { ratesOf, type Bus, type Costs, type Part, type Workload } from './model.ts'

/** What a simulated deployment with one of each part came to. */
export interface Simulated {
  /** The longest that work of each part has waited at the end, in seconds: a part that keeps up has next to none. */
  readonly backlogSeconds: Readonly<Record<Queue, number>>
  /** How much of the time each part was busy. */
  readonly busy: Readonly<Record<Queue, number>>
  readonly messages: number
  readonly deliveries: number
}

/** Parts that do one thing after the other. Memory is no queue: it is full, or it is not. */
export const queues = ['gateway cpu', 'notifications', 'worker cpu', 'postgres', 'redis'] as const satisfies readonly Part[]
export type Queue = typeof queues[number]

interface Step { readonly queue: Queue, readonly seconds: number }

/** An event of the future: work that arrives at a part, with what follows behind it. */
interface Arrival { readonly at: number, readonly steps: readonly Step[] }

/**
 * Lets messages arrive at random (Poisson), and each run tell its events at random moments of its life. Each message and each event passes the
 * parts one after the other, each of which serves in order of arrival, with the costs of the model as service times. Nothing of the model's
 * arithmetic is used: what is full first comes out of the queues. `random` gives numbers from 0 to 1.
 */
export function simulate (workload: Workload, costs: Costs, bus: Bus, { seconds, random }: { seconds: number, random: () => number }): Simulated {
  const freeAt: Record<Queue, number> = { 'gateway cpu': 0, notifications: 0, 'worker cpu': 0, postgres: 0, redis: 0 }
  const worked: Record<Queue, number> = { ...freeAt }
  const arrivals = new ArrivalQueue()
  let messages = 0
  let deliveries = 0
  const rate = ratesOf(workload).messages
  // Runs that have begun before the beginning still tell events.
  for (let at = waitFor(rate, random) - workload.runSeconds; at < seconds; at += waitFor(rate, random)) {
    messages += 1
    if (at >= 0) arrivals.add({ at, steps: messageSteps(costs) })
    const events = poisson(workload.eventsPerRun, random)
    for (let event = 0; event < events; event += 1) {
      const followers = poisson(workload.followersPerThread, random)
      deliveries += followers
      const toldAt = at + random() * workload.runSeconds
      if (toldAt >= 0) arrivals.add({ at: toldAt, steps: eventSteps(followers, costs, bus) })
    }
  }
  for (let next = arrivals.take(); next !== undefined && next.at < seconds; next = arrivals.take()) {
    const [step, ...rest] = next.steps
    if (step === undefined) continue
    const begins = Math.max(next.at, freeAt[step.queue])
    // Heartbeats come in between all the time.
    const took = step.queue === 'gateway cpu' ? step.seconds / (1 - workload.connections * costs.idleSeconds) : step.seconds
    freeAt[step.queue] = begins + took
    worked[step.queue] += took
    if (rest.length > 0) arrivals.add({ at: begins + took, steps: rest })
  }
  return {
    backlogSeconds: mapQueues((queue) => Math.max(0, freeAt[queue] - seconds)),
    busy: mapQueues((queue) => worked[queue] / seconds),
    messages,
    deliveries
  }
}

function messageSteps (costs: Costs): readonly Step[] {
  return [
    { queue: 'gateway cpu', seconds: costs.acceptSeconds },
    { queue: 'postgres', seconds: 1 / costs.postgresMessages },
    { queue: 'worker cpu', seconds: costs.runSeconds }
  ]
}

function eventSteps (followers: number, costs: Costs, bus: Bus): readonly Step[] {
  const signal: Step[] = bus === 'redis'
    ? [{ queue: 'redis', seconds: 1 / costs.redisSignals }, { queue: 'gateway cpu', seconds: costs.signalSeconds }]
    : [{ queue: 'notifications', seconds: costs.notifySeconds }]
  return [
    { queue: 'worker cpu', seconds: costs.eventSeconds },
    { queue: 'postgres', seconds: 1 / costs.postgresEvents },
    ...signal,
    { queue: 'gateway cpu', seconds: followers * costs.deliverSeconds }
  ]
}

function mapQueues (of: (queue: Queue) => number): Readonly<Record<Queue, number>> {
  return {
    'gateway cpu': of('gateway cpu'), notifications: of('notifications'), 'worker cpu': of('worker cpu'), postgres: of('postgres'), redis: of('redis')
  }
}

const waitFor = (rate: number, random: () => number): number => -Math.log(1 - random()) / rate

/** By inversion; for means of up to some hundreds. */
function poisson (mean: number, random: () => number): number {
  let count = 0
  for (let product = random(); product > Math.exp(-mean); product *= random()) count += 1
  return count
}

/** Arrivals by time: a binary heap. */
class ArrivalQueue {
  readonly #heap: Arrival[] = []

  add (arrival: Arrival): void {
    const heap = this.#heap
    let index = heap.push(arrival) - 1
    while (index > 0) {
      const above = (index - 1) >> 1
      const parent = heap[above]
      if (parent === undefined || parent.at <= arrival.at) break
      heap[index] = parent
      index = above
    }
    heap[index] = arrival
  }

  take (): Arrival | undefined {
    const heap = this.#heap
    const [first] = heap
    const last = heap.pop()
    if (first === undefined || last === undefined || heap.length === 0) return first
    let index = 0
    for (let child = this.#smallerChild(index); child !== undefined; child = this.#smallerChild(index)) {
      const below = heap[child]
      if (below === undefined || below.at >= last.at) break
      heap[index] = below
      index = child
    }
    heap[index] = last
    return first
  }

  #smallerChild (index: number): number | undefined {
    const [left, right] = [this.#heap[2 * index + 1], this.#heap[2 * index + 2]]
    if (left === undefined) return undefined
    return right !== undefined && right.at < left.at ? 2 * index + 2 : 2 * index + 1
  }
}
