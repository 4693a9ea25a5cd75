/**
 * How many gateways, workers, databases and Redis shards a number of connections needs, what is full first, and whether the arithmetic holds:
 * for each kind of use a deployment with one of each is simulated below the connections at which the model says that a part is full,
 * and above. Below, everything must keep up; above, that very part must fall behind, or one that is full at nearly the same number.
 *
 *   npm run bench:capacity [-- --seed 7]
 *
 * Ends with one line of JSON; exit code 1 when model and simulation disagree.
 */
import { parseArgs } from 'node:util'
import { chat, assumedCosts, workloads } from './capacity/assumptions.ts'
import { limitsOf, planFor, type Bus, type Limit, type Workload } from './capacity/model.ts'
import { queues, simulate, type Queue } from './capacity/simulation.ts'
import { readCount } from './support/command-line.ts'
import { formatTable } from './support/table.ts'

const { values } = parseArgs({ options: { seed: { type: 'string', default: '7' } } })
const random = seeded(readCount('seed', values.seed))
const buses: readonly Bus[] = ['postgres', 'redis']
const simulatedSeconds = 40
/** What a part may be behind at the end, as a share of the simulated time, and still keep up: chance alone. */
const tolerance = 0.01
/** Limits that differ by less than this are told apart by nothing but chance. */
const closeTogether = 1.1
/** Of what the model says that a part must be behind when it is too much for it. */
const expectedShare = 0.4

const plans = [1_000, 10_000, 100_000, 1_000_000, 10_000_000].flatMap((connections) => buses.map((bus) => {
  const plan = planFor({ ...chat, connections }, assumedCosts, bus)
  return { connections, bus, plan }
}))
console.log('What a chat needs (six messages an hour and connection, parts used to 60 %):\n')
console.log(formatTable([
  ['connections', 'bus', 'messages/s', 'events/s', 'gateways', 'workers', 'databases', 'Redis shards', 'stored a day, GB', 'Redis, MB'],
  ...plans.map(({ connections, bus, plan }) => [
    connections.toLocaleString('en'), bus, plan.rates.messages.toFixed(1), plan.rates.events.toFixed(0), String(plan.gateways), String(plan.workers),
    String(plan.postgresShards), String(plan.redisShards), (plan.postgresBytesPerDay / 1e9).toFixed(1), (plan.redisBytes / 1e6).toFixed(1)
  ])
]))

const checks = Object.entries(workloads).flatMap(([name, workload]) => buses.map((bus) => checkLimit(name, workload, bus)))
console.log('\nWhich part falls behind first with one of each, when memory is full, and what the simulation says below and above the first:\n')
console.log(formatTable([
  ['', 'bus', 'behind first', 'at connections', 'memory full first', 'at connections', 'behind below, s', 'behind above, s', 'holds'],
  ...checks.map(({ name, bus, limit, memory, together, below, above, holds }) => [
    name, bus, together.map(({ part }) => part).join(', '), limit.connections.toLocaleString('en'),
    memory.part, memory.connections.toLocaleString('en'), below.toFixed(2), `${above.queue} ${above.seconds.toFixed(1)}`, holds ? 'yes' : 'NO'
  ])
]))
console.log(JSON.stringify({
  capacity: {
    plans: plans.map(({ connections, bus, plan }) => ({ connections, bus, ...plan })),
    checks: checks.map(({ name, bus, limit, memory, holds }) => ({ name, bus, ...limit, memory, holds }))
  }
}))
if (!checks.every(({ holds }) => holds)) process.exitCode = 1

interface Check {
  readonly name: string
  readonly bus: Bus
  readonly limit: Limit
  /** Of gateway and worker that whose memory is full first. */
  readonly memory: Limit
  /** The parts that are full at that limit, or so little above it that chance decides. */
  readonly together: readonly Limit[]
  /** How far the part that is most behind was, in seconds. */
  readonly below: number
  readonly above: { readonly queue: Queue, readonly seconds: number }
  readonly holds: boolean
}

/**
 * Memory is no queue, and is told beside. Above the first limit, and not above the next one: there the part that comes first on the way hides the other. Parts
 * whose limits lie close together are full together, because chance alone decides which of them falls behind.
 */
function checkLimit (name: string, workload: Workload, bus: Bus): Check {
  const [limit, ...others] = limitsOf(workload, assumedCosts, bus, queues)
  const together = [limit, ...others.filter(({ connections }) => connections < limit.connections * closeTogether)]
  const next = others[together.length - 1]
  const [memory] = limitsOf(workload, assumedCosts, bus, ['gateway memory', 'worker memory'])
  const at = (connections: number): { queue: Queue, seconds: number } => {
    const { backlogSeconds } = simulate({ ...workload, connections }, assumedCosts, bus, { seconds: simulatedSeconds, random })
    const [queue] = queues.toSorted((one, other) => backlogSeconds[other] - backlogSeconds[one])
    if (queue === undefined) throw new RangeError('There are no queues')
    return { queue, seconds: backlogSeconds[queue] }
  }
  const below = at(limit.connections * 0.9)
  const excess = Math.min(1.2, next === undefined ? Infinity : Math.sqrt(next.connections / limit.connections))
  const above = at(limit.connections * excess)
  const keepsUp = below.seconds < tolerance * simulatedSeconds
  const fallsBehind = together.some(({ part }) => part === above.queue) && above.seconds > expectedShare * (excess - 1) * simulatedSeconds
  return { name, bus, limit, memory, together, below: below.seconds, above, holds: keepsUp && fallsBehind }
}

/** Mulberry32: small, and the same on every machine. */
function seeded (seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6D2B79F5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
