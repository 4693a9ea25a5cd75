import { startProgram, type Program } from '../support/program.ts'
import { spreadOf } from '../support/statistics.ts'
import { formatTable } from '../support/table.ts'
import type { Bus, ClusterNode, NodeOptions } from './node.ts'

export interface Places {
  readonly databaseUrl: string
  readonly redisUrl: string
  readonly rounds: number
  readonly signal: AbortSignal
}

export type NodeProgram = Program<ClusterNode>

const buses: readonly Bus[] = ['poll', 'postgres', 'redis']
/** Of one event at a time, told every so often. */
const quiet = { events: 50, pauseMs: 20 }

interface Load { readonly threads: number, readonly followers: number, readonly nodes: number, readonly each: number }

interface BusRound {
  readonly perSecond: number
  /** Of events that are told one at a time, from before the append to the follower on the other node. */
  readonly delays: readonly number[]
  /** What the appends of those took by themselves: a single commit. */
  readonly commits: readonly number[]
  readonly lost: number
}

/** Starts a node, and has it end with the bench. */
export async function startNode (options: NodeOptions, signal: AbortSignal): Promise<NodeProgram> {
  const node = startProgram<ClusterNode>(new URL('node.ts', import.meta.url), { signal })
  await node.ask('start', options)
  return node
}

/** Each bus in turn, in each round: one node that writes, one that follows. */
export async function busFigures ({ threads, ...places }: Places & { readonly threads: number }): Promise<unknown> {
  const measured = new Map<Bus, BusRound[]>(buses.map((bus) => [bus, []]))
  for (let round = 0; round < places.rounds; round += 1) {
    for (const bus of buses) measured.get(bus)?.push(await measureBus(bus, { threads, followers: 1, nodes: 1, each: Math.ceil(20_000 / threads) }, places))
  }
  console.log(`\nEvents from one node to followers on another, ${threads} threads:\n`)
  console.log(tableOf([...measured]))
  return Object.fromEntries([...measured].map(([bus, all]) => [bus, jsonOf(all)]))
}

/** One more of each: nodes that follow, threads, followers of a thread. */
export async function growthFigures (places: Places): Promise<unknown> {
  const loads: readonly (readonly [string, Load])[] = [
    ['1 node, 16 threads, 1 follower', { nodes: 1, threads: 16, followers: 1, each: 400 }],
    ['2 nodes', { nodes: 2, threads: 16, followers: 1, each: 400 }],
    ['4 nodes', { nodes: 4, threads: 16, followers: 1, each: 400 }],
    ['128 threads', { nodes: 1, threads: 128, followers: 1, each: 50 }],
    ['1,024 threads', { nodes: 1, threads: 1_024, followers: 1, each: 6 }],
    ['10 followers a thread', { nodes: 1, threads: 16, followers: 10, each: 400 }],
    ['100 followers a thread', { nodes: 1, threads: 16, followers: 100, each: 100 }]
  ]
  const json: Record<string, unknown> = {}
  for (const bus of ['postgres', 'redis'] as const) {
    const rows: (readonly [string, BusRound[]])[] = []
    for (const [title, load] of loads) rows.push([title, [await measureBus(bus, load, places)]])
    console.log(`\nHow it grows, over ${bus} (events a second are those that were appended and have reached every follower):\n`)
    console.log(tableOf(rows))
    json[bus] = Object.fromEntries(rows.map(([title, all]) => [title, jsonOf(all)]))
  }
  return json
}

async function measureBus (bus: Bus, { threads, followers, nodes, each }: Load, { databaseUrl, redisUrl, signal }: Places): Promise<BusRound> {
  const start = async (): Promise<NodeProgram> => await startNode({ databaseUrl, redisUrl, bus, role: 'gateway' }, signal)
  const [writer, ...readers] = await Promise.all(Array.from({ length: nodes + 1 }, start))
  if (writer === undefined) throw new Error('There is a writer')
  try {
    const runs = await writer.ask('open', threads)
    await Promise.all(readers.map(async (reader) => await reader.ask('follow', { runs: runs.slice(0, 1), followers: 1 })))
    const { tookMs: commits } = await writer.ask('append', { runs: runs.slice(0, 1), each: quiet.events, pauseMs: quiet.pauseMs })
    const quietly = await Promise.all(readers.map(async (reader) => await reader.ask('arrived', quiet.events)))

    await Promise.all(readers.map(async (reader) => await reader.ask('follow', { runs, followers })))
    const { startedAt } = await writer.ask('append', { runs, each })
    const wanted = threads * each * followers
    const loudly = await Promise.all(readers.map(async (reader) => await reader.ask('arrived', wanted)))
    const lastAt = Math.max(...loudly.map((arrived) => arrived.lastAt))
    return {
      perSecond: threads * each / (lastAt - startedAt) * 1_000,
      delays: quietly.flatMap(({ delaysMs }) => delaysMs),
      commits,
      lost: loudly.reduce((sum, { events }) => sum + wanted - events, 0) + quietly.reduce((sum, { events }) => sum + quiet.events - events, 0)
    }
  } finally {
    await Promise.all([writer, ...readers].map(async (node) => { await node.end() }))
  }
}

export function percentile (values: readonly number[], share: number): number {
  const sorted = values.toSorted((one, other) => one - other)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

function tableOf (rows: readonly (readonly [string, readonly BusRound[]])[]): string {
  return formatTable([['', 'events/s', 'delay p50, ms', 'p99, ms', 'p50 to a commit', 'p99 to a commit', 'lost'], ...rows.map(([title, all]) => {
    const { perSecond, p50, p99, p50ToCommit, p99ToCommit, lost } = summaryOf(all)
    return [title, perSecond.toFixed(0), p50.toFixed(2), p99.toFixed(2), p50ToCommit.toFixed(2), p99ToCommit.toFixed(2), String(lost)]
  })])
}

/** Medians over the rounds; ratios are taken within a round. */
function summaryOf (all: readonly BusRound[]) {
  const median = (of: (round: BusRound) => number): number => spreadOf(all.map(of)).median
  return {
    perSecond: median(({ perSecond }) => perSecond),
    p50: median(({ delays }) => percentile(delays, 0.5)),
    p99: median(({ delays }) => percentile(delays, 0.99)),
    p50ToCommit: median(({ delays, commits }) => percentile(delays, 0.5) / percentile(commits, 0.5)),
    p99ToCommit: median(({ delays, commits }) => percentile(delays, 0.99) / percentile(commits, 0.5)),
    lost: all.reduce((sum, round) => sum + round.lost, 0)
  }
}

function jsonOf (all: readonly BusRound[]): unknown {
  return Object.fromEntries(Object.entries(summaryOf(all)).map(([name, value]) => [name, Number(value.toFixed(2))]))
}
