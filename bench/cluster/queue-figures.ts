import { startProgram } from '../support/program.ts'
import { spreadOf } from '../support/statistics.ts'
import { formatTable } from '../support/table.ts'
import { percentile, startNode, type Places } from './bus-figures.ts'
import type { BullNode } from './bull-node.ts'

type Times = Readonly<Record<string, number>>

/** A few messages at a time, as a chat has them: the worker is idle in between. */
const calm = { messages: 60, users: 2, pauseMs: 150 }

/**
 * From the moment at which a message is accepted to the beginning of its run on another node: the runs table with its announcements over
 * Postgres and over Redis, and BullMQ, which keeps its jobs in Redis. They take turns in each round.
 */
export async function queueFigures (places: Places): Promise<unknown> {
  const kinds = {
    'runs table, announced over Postgres': async () => await measureRuns('postgres', places),
    'runs table, announced over Redis': async () => await measureRuns('redis', places),
    BullMQ: async () => await measureBull(places)
  }
  const measured = new Map<string, (readonly number[])[]>(Object.keys(kinds).map((name) => [name, []]))
  for (let round = 0; round < places.rounds; round += 1) {
    for (const [name, measure] of Object.entries(kinds)) measured.get(name)?.push(await measure())
  }
  const median = (name: string, share: number): number => spreadOf((measured.get(name) ?? []).map((delays) => percentile(delays, share))).median
  const rows = [...measured.keys()].map((name) => ({ name, p50: median(name, 0.5), p99: median(name, 0.99), ratio: median(name, 0.5) / median('BullMQ', 0.5) }))
  console.log('\nFrom acceptance to the beginning of the run on another node:\n')
  console.log(formatTable([['', 'p50, ms', 'p99, ms', 'p50 to BullMQ'], ...rows.map(({ name, p50, p99, ratio }) => [name, p50.toFixed(2), p99.toFixed(2), ratio.toFixed(2)])]))
  return Object.fromEntries(rows.map(({ name, p50, p99, ratio }) => [name, { p50: rounded(p50), p99: rounded(p99), ratio: rounded(ratio) }]))
}

async function measureRuns (bus: 'postgres' | 'redis', { databaseUrl, redisUrl, signal }: Places): Promise<readonly number[]> {
  const [gateway, worker] = await Promise.all([
    startNode({ databaseUrl, redisUrl, bus, role: 'gateway' }, signal), startNode({ databaseUrl, redisUrl, bus, role: 'worker' }, signal)
  ])
  try {
    await worker.ask('begun', Object.keys(await gateway.ask('send', { ...calm, messages: 8 }))) // warms up
    const accepted = await gateway.ask('send', calm)
    return delaysOf(accepted, await worker.ask('begun', Object.keys(accepted)))
  } finally {
    await Promise.all([gateway.end(), worker.end()])
  }
}

async function measureBull ({ redisUrl, signal }: Places): Promise<readonly number[]> {
  const file = new URL('bull-node.ts', import.meta.url)
  const [producer, worker] = [startProgram<BullNode>(file, { signal }), startProgram<BullNode>(file, { signal })]
  try {
    const queue = `bench-${process.pid}-${Math.round(performance.now())}`
    await Promise.all([producer.ask('produce', { redisUrl, queue }), worker.ask('work', { redisUrl, queue })])
    await worker.ask('begun', Object.keys(await producer.ask('send', { ...calm, messages: 8 })))
    const accepted = await producer.ask('send', calm)
    const delays = delaysOf(accepted, await worker.ask('begun', Object.keys(accepted)))
    await producer.ask('remove', null)
    return delays
  } finally {
    await Promise.all([producer.end(), worker.end()])
  }
}

function delaysOf (accepted: Times, begun: Times): readonly number[] {
  return Object.entries(accepted).map(([id, at]) => {
    const began = begun[id]
    if (began === undefined) throw new Error('A run was accepted and never begun')
    return began - at
  })
}

const rounded = (value: number): number => Number(value.toFixed(2))
