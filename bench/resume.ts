/**
 * What it takes to come back, and what a thread's followers cost: the time from a connection to the last of the events that were missed,
 * and CPU of the server for each live event.
 *
 *   npm run bench:resume -- --rounds 7
 *
 * The servers are processes of their own; the clients are in this one and are not counted. They take turns in each round, and each
 * figure is compared with a bare `ws` server that sends the same frames in the same round: the ratios are what counts. Ends with
 * one line of JSON.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { BareFrames } from './servers/bare-frames.ts'
import { readCount, runBench } from './support/command-line.ts'
import type { Figure } from './support/figure.ts'
import { followerFigures } from './support/follower-figures.ts'
import type { MeasuredServer } from './support/measured-server.ts'
import { startProgram, type Program } from './support/program.ts'
import { atHand, missedFrames, mostMissed, resumeFigures } from './support/resume-figures.ts'
import { spreadOf, type Spread } from './support/statistics.ts'
import { formatTable } from './support/table.ts'
import { tellThread } from './support/told-thread.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    events: { type: 'string', default: '500' },
    timeout: { type: 'string', default: '180' }
  }
})
const rounds = readCount('rounds', values['rounds'])
/** Live events of a round, for each number of followers. */
const liveEvents = readCount('events', values['events'])
const timeoutSeconds = readCount('timeout', values['timeout'])

const followers = [1, 10, 100]

/** By the id of its figure. */
type Round = ReadonlyMap<string, number>

const limit = new AbortController()
const folder = await mkdtemp(join(tmpdir(), 'threadline-bench-'))
await runBench(bench, timeoutSeconds, limit)
await rm(folder, { recursive: true, force: true, maxRetries: 5 })

async function bench (): Promise<void> {
  // What a server has told itself it keeps at hand. So the thread that is read from the log was written to by a server before.
  const first = startThreadline()
  const old = await tellThread(await first.ask('start', undefined), mostMissed + atHand)
  await first.end()

  const server = startThreadline()
  const bare = startProgram<BareFrames>(new URL('servers/bare-frames.ts', import.meta.url), { signal: limit.signal })
  const [address, bareAddress] = [await server.ask('start', undefined), await bare.ask('start', undefined)]
  const recent = await tellThread(address, mostMissed + atHand)
  await bare.ask('keep', await missedFrames(address, recent))

  const resumes = resumeFigures({ address, bare: bareAddress, old, recent })
  const lives = followers.flatMap((count) => followerFigures(count, liveEvents, { server, address, bare, bareAddress }))
  const figures = [...resumes, ...lives]
  await measureRound(figures) // warms up
  const measured: Round[] = []
  for (let round = 1; round <= rounds; round += 1) measured.push(await measureRound(figures))
  await Promise.all([server.end(), bare.end()])
  report(resumes, lives, measured)
}

function startThreadline (): Program<MeasuredServer> {
  return startProgram<MeasuredServer>(new URL('servers/followed-thread.ts', import.meta.url), { signal: limit.signal, args: [folder] })
}

async function measureRound (figures: readonly Figure[]): Promise<Round> {
  const measured = new Map<string, number>()
  for (const figure of figures) measured.set(figure.id, await figure.measure())
  return measured
}

function report (resumes: readonly Figure[], lives: readonly Figure[], measured: readonly Round[]): void {
  console.log(`Medians of ${rounds} rounds; Node ${process.versions.node}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown CPU'}\n`)
  console.log('From a new connection to having everything:\n')
  console.log(tableOf('ms', 'ratio to bare ws', resumes, measured))
  console.log(`\nCPU of the server, user and system, for each of ${liveEvents} live events (agent_thinking, each with spans of its own):\n`)
  console.log(tableOf('µs', 'ratio to 1', lives, measured))
  const toBare = followers.map((count) => [count, ratioIn(measured, `live-${count}`, `broadcast-${count}`)] as const)
  console.log(`\nThreadline to bare ws: ${toBare.map(([count, { median }]) => `${median.toFixed(2)} with ${count}`).join(', ')}`)
  const [further, bareFurther] = [costOfFurther(measured, 'live'), costOfFurther(measured, 'broadcast')]
  console.log(`Each further follower: ${further.median.toFixed(1)} µs, of bare ws ${bareFurther.median.toFixed(1)} µs`)

  const figures = [...resumes, ...lives].map(({ id, base }) => [id, { value: rounded(valuesOf(measured, id)), ratio: rounded(ratioIn(measured, id, base)) }])
  console.log(JSON.stringify({
    resume: {
      rounds,
      events: liveEvents,
      figures: Object.fromEntries(figures),
      toBare: Object.fromEntries(toBare.map(([count, ratio]) => [count, rounded(ratio)])),
      further: { threadline: rounded(further), bare: rounded(bareFurther) }
    }
  }))
}

function tableOf (unit: string, ratio: string, figures: readonly Figure[], measured: readonly Round[]): string {
  return formatTable([['', unit, ratio, 'in the rounds'], ...figures.map(({ id, title, base }) => {
    const { median } = valuesOf(measured, id)
    const compared = ratioIn(measured, id, base)
    return [title, median.toFixed(1), compared.median.toFixed(2), `${compared.min.toFixed(2)}–${compared.max.toFixed(2)}`]
  })])
}

function valuesOf (measured: readonly Round[], id: string): Spread {
  return spreadOf(measured.map((round) => valueIn(round, id)))
}

/** What one more follower costs, of those between the fewest and the most. */
function costOfFurther (measured: readonly Round[], kind: 'live' | 'broadcast'): Spread {
  const [fewest, most] = [Math.min(...followers), Math.max(...followers)]
  return spreadOf(measured.map((round) => (valueIn(round, `${kind}-${most}`) - valueIn(round, `${kind}-${fewest}`)) / (most - fewest)))
}

function ratioIn (measured: readonly Round[], id: string, base: string): Spread {
  return spreadOf(measured.map((round) => valueIn(round, id) / valueIn(round, base)))
}

function valueIn (round: Round, id: string): number {
  return round.get(id) ?? Number.NaN
}

function rounded ({ median, min, max }: Spread): Spread {
  const round = (value: number): number => Number(value.toFixed(2))
  return { median: round(median), min: round(min), max: round(max) }
}
