/**
 * What several nodes cost, over a Postgres and a Redis server: how many events reach followers on another node by each bus, and how late; what
 * committing in groups is worth; how long a run waits for a worker on another node, beside BullMQ; and how this grows with nodes, threads
 * and followers.
 *
 *   export $(scripts/services.sh env); npm run bench:cluster -- --rounds 3
 *   … --only commits,buses,queue,growth
 *
 * Each node is a process of its own. The machine is shared with the servers, so the ratios within a round are what counts: delays are compared
 * with a single commit of the same round. The database must be one to throw away: rows stay. Ends with one line of JSON.
 */
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { busFigures, growthFigures } from './cluster/bus-figures.ts'
import { measureCommits, type CommitRound } from './cluster/commits.ts'
import { queueFigures } from './cluster/queue-figures.ts'
import { createScratchDatabase } from './cluster/scratch-database.ts'
import { readCount, runBench } from './support/command-line.ts'
import { spreadOf } from './support/statistics.ts'
import { formatTable } from './support/table.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '2' },
    threads: { type: 'string', default: '64' },
    only: { type: 'string', default: 'commits,buses,queue,growth' },
    timeout: { type: 'string', default: '900' }
  }
})
const rounds = readCount('rounds', values.rounds)
const seconds = readCount('seconds', values.seconds)
const threads = readCount('threads', values.threads)
const parts = values.only.split(',')
const { DATABASE_URL: serverUrl, REDIS_URL: redisUrl } = process.env

const limit = new AbortController()
await runBench(bench, readCount('timeout', values.timeout), limit)

async function bench (): Promise<void> {
  if (serverUrl === undefined || redisUrl === undefined) throw new Error('DATABASE_URL and REDIS_URL are needed: export $(scripts/services.sh env)')
  console.log(`${rounds} rounds; Node ${process.versions.node}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown CPU'}`)
  const database = await createScratchDatabase(serverUrl)
  const places = { databaseUrl: database.url, redisUrl, rounds, signal: limit.signal }
  const json: Record<string, unknown> = { rounds }
  try {
    if (parts.includes('commits')) json['commits'] = await commits(database.url)
    if (parts.includes('buses')) json['buses'] = await busFigures({ ...places, threads })
    if (parts.includes('queue')) json['queue'] = await queueFigures(places)
    if (parts.includes('growth')) json['growth'] = await growthFigures(places)
  } finally {
    await database.drop()
  }
  console.log(JSON.stringify({ cluster: json }))
}

/** The goals of committing in groups: 3 times as many events on Postgres, 4 times on the embedded database. */
async function commits (databaseUrl: string): Promise<unknown> {
  const measured = {
    postgres: await measureCommits({ databaseUrl, threads, seconds, rounds }),
    embedded: await measureCommits({ databaseUrl: undefined, threads, seconds, rounds })
  }
  const ratio = (all: readonly CommitRound[]) => spreadOf(all.map(({ group, single }) => group.perSecond / single.perSecond))
  const median = (all: readonly CommitRound[], of: (round: CommitRound) => number): string => spreadOf(all.map(of)).median.toFixed(2)
  console.log(`\nEvents appended to ${threads} threads at once, each thread one after the other:\n`)
  console.log(formatTable([
    ['', 'one a transaction, /s', 'in groups, /s', 'ratio', 'in the rounds', 'a single commit, ms'],
    ...Object.entries(measured).map(([name, all]) => {
      const { median: middle, min, max } = ratio(all)
      return [
        name, Number(median(all, ({ single }) => single.perSecond)).toFixed(0), Number(median(all, ({ group }) => group.perSecond)).toFixed(0),
        middle.toFixed(2), `${min.toFixed(2)}–${max.toFixed(2)}`, median(all, ({ alone }) => alone.medianMs)
      ]
    })
  ]))
  return { threads, postgres: ratio(measured.postgres), embedded: ratio(measured.embedded) }
}
